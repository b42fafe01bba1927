# Sourced by the other scripts: makes .venv where it is missing, installs openmix into it, and activates it.
#   source scripts/environment.sh EXTRAS        e.g. train or train,test
# A later call installs again only if the requirements or the extras have changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
extras=$1
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "openmix needs Python 3.10 or newer; found: $("$python" --version 2>&1). Name one with PYTHON=/path/to/python" >&2
    exit 2
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv || exit 1
want="$extras $(cat pyproject.toml requirements/*.txt | sha256sum)"
if [ "$(cat .venv/openmix-"${extras//,/-}" 2>/dev/null)" != "$want" ]; then
    echo "Installing openmix[$extras] into .venv (a few minutes the first time) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" || exit 1
    echo "$want" >.venv/openmix-"${extras//,/-}"
fi
source .venv/bin/activate

"""``openmix bench``: how fast openmix is, beside what one would write without it, on this machine."""

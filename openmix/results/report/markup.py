"""Elements of HTML and SVG; what is put into them is text, and is escaped when the page is written."""

from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

__all__ = ["Element", "element", "html"]

# what HTML has no way to say: control characters but for white space
UNSAYABLE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)), "�")


def element(tag: str, attributes: Mapping[str, object] | None = None, /, *children: Element | str) -> Element:
    """Return an element.

    Args:
        tag: its name.
        attributes: by name; None leaves one out, True is one without a value.
        children: elements and text, in order.

    >>> html(element("p", {"class": "a"}, "1 < 2", element("b", None, "!")))
    '<p class="a">1 &lt; 2<b>!</b></p>'
    """
    made = Element(tag)
    for name, value in (attributes or {}).items():
        if value is not None:
            made.set(name, "" if value is True else str(value).translate(UNSAYABLE))
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child.translate(UNSAYABLE)
        else:
            made.text = (made.text or "") + child.translate(UNSAYABLE)
    return made


def html(made: Element) -> str:
    """Return an element's text."""
    return ElementTree.tostring(made, encoding="unicode", method="html")

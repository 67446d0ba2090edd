"""Reads charts as XML."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"


def parsed(chart: str) -> ET.Element:
    """The root of a chart, which must be well formed, named, described and without styles and scripts."""
    root = ET.fromstring(chart)
    assert root.tag == f"{SVG}svg"
    assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {
            *("svg", "title", "desc", "g", "a", "text", "line", "rect", "circle", "polygon", "polyline")
        }
        for name, value in element.attrib.items():
            assert name in {
                *("class", "role", "width", "height", "viewBox", "href", "x", "y", "x1", "y1", "x2", "y2"),
                *("cx", "cy", "r", "points", "text-anchor"),
            }
            assert "nan" not in value
            assert "inf" not in value
    return root


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in root.iter() if name in element.get("class", "").split()]


def numbers_of(element: ET.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def texts(root: ET.Element, name: str) -> list[str]:
    return [element.text or "" for element in of_class(root, name)]


def tooltips(root: ET.Element) -> Iterator[str]:
    """The titles of elements inside the chart."""
    for element in root.iter():
        title = element.find(f"{SVG}title")
        if element is not root and title is not None:
            yield title.text or ""


def description(root: ET.Element) -> str:
    return root[1].text or ""


def corners(root: ET.Element) -> tuple[float, float]:
    width, height = numbers_of(root, "width", "height")
    return width, height


def assert_inside(root: ET.Element) -> None:
    """Nothing is drawn outside of the chart; text may begin or end at its border."""
    width, height = corners(root)
    for element in root.iter():
        for names, most in ((("x", "x1", "x2", "cx"), width), (("y", "y1", "y2", "cy"), height)):
            for name in names:
                if name in element.attrib:
                    assert -0.01 <= float(element.attrib[name]) <= most + 0.01, ET.tostring(element)

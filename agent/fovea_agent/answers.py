"""What the object store answers in XML, read in one place: some answer 200 with HTML, or with nothing, to what they do not know."""

from xml.etree import ElementTree as ET


def parsed(data: bytes) -> ET.Element:
    """The XML of an answer; raises ParseError for whatever cannot be read as XML."""
    try:
        return ET.fromstring(data)  # noqa: S314 - our own store
    except (ValueError, LookupError) as error:  # of an encoding that Python does not know, or not for XML
        raise ET.ParseError(str(error)) from error


def listed_parts(answer: ET.Element, after: int) -> tuple[list[tuple[int, int, str]], int | None]:
    """Number, size and ETag of the parts in one page of ListParts, and after which one the next page begins, if any.

    `after`: where this page begins. Raises KeyError and ValueError for what is no such page.
    """
    found = []
    for part in answer.iterfind("{*}Part"):
        field = {child.tag.rpartition("}")[2]: child.text or "" for child in part}
        found.append((int(field["PartNumber"]), int(field["Size"]), field["ETag"].strip('"')))
    if answer.findtext("{*}IsTruncated") != "true":
        return found, None
    following = int(answer.findtext("{*}NextPartNumberMarker") or 0)
    if following <= after:  # the same page again and again
        raise ValueError(f"the page after {after} is followed by the one after {following}")
    return found, following

"""Holds recorded SOAP messages against the schema of the vSphere API: names, order and types of all elements.

    validate.py PATH...         files with one envelope, or several one after the other, or folders of such files (*.xml)

Prints one line for every message that does not hold; exits with 0 when all do and there was at least one.
"""

import pathlib
import re
import sys
import tempfile

from lxml import etree

import vim_schema

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"

# A message begins with an XML declaration, or with the envelope where it has none.
BEGINNING = re.compile(rb"<\?xml |(?<!\?>)(?<!\?>\n)<(?:\w+:)?Envelope[\s>]")


class Validator:
    def __init__(self, more=""):
        """`more`: declarations of what the API does not document."""
        with tempfile.TemporaryDirectory() as folder:
            self._schema = etree.XMLSchema(etree.parse(str(vim_schema.write_schemas(folder, more))))

    def mistakes(self, envelope):
        """What is wrong with a request or a response, as lines; nothing when it holds."""
        try:
            # Entities and document types have no place in SOAP.
            parser = etree.XMLParser(resolve_entities=False, no_network=True)
            root = etree.fromstring(envelope, parser)
        except etree.XMLSyntaxError as error:
            return [f"is not XML: {error}"]
        if root.tag != f"{{{SOAP}}}Envelope":
            return [f"is not a SOAP envelope but {root.tag}"]
        if root.getroottree().docinfo.doctype:
            return ["has a document type declaration"]
        bodies = root.findall(f"{{{SOAP}}}Body")
        if len(bodies) != 1 or len(bodies[0]) != 1:
            return ["does not have exactly one body with one element"]
        payload = bodies[0][0]
        if payload.tag == f"{{{SOAP}}}Fault":
            return self._fault_mistakes(payload)
        return self._element_mistakes(payload)

    def _element_mistakes(self, payload):
        if self._schema.validate(payload):
            return []
        return [f"{etree.QName(payload).localname}: {entry.message}" for entry in self._schema.error_log]

    def _fault_mistakes(self, fault):
        children = [child.tag for child in fault]
        if children not in (["faultcode", "faultstring"], ["faultcode", "faultstring", "detail"]):
            return [f"has a SOAP fault made of {children}"]
        return [line for detail in fault.findall("detail/*") for line in self._element_mistakes(detail)]


def method(envelope):
    """The name of a message's payload, for people."""
    found = re.search(rb"Body[^>]*>\s*<(?:\w+:)?(\w+)", envelope)
    return found.group(1).decode() if found else "?"


def messages(content):
    starts = [found.start() for found in BEGINNING.finditer(content)]
    return [content[start:end].strip() for start, end in zip(starts, [*starts[1:], len(content)])]


def files(paths):
    for path in map(pathlib.Path, paths):
        yield from sorted(path.rglob("*.xml")) if path.is_dir() else [path]


def main(paths):
    if not paths:
        sys.exit(__doc__)
    validator = Validator()
    count = failed = 0
    for path in files(paths):
        for number, envelope in enumerate(messages(path.read_bytes()), 1):
            count += 1
            mistakes = validator.mistakes(envelope)
            failed += bool(mistakes)
            for mistake in mistakes:
                print(f"{path}: message {number} ({method(envelope)}): {mistake}")
    print(f"{count} messages, {failed} of them against the schema")
    return 0 if count and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

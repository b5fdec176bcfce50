"""pyVmomi's connection to the endpoint, with every message held against the schema on its way."""

import io
import pathlib
import re
import sys

from pyVmomi.SoapAdapter import SoapStubAdapter

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "schema"))

import validate  # noqa: E402: found by the line above


# pyVmomi reads single properties by a method that is older than the PropertyCollector and in no table.
FETCH = (
    '<element name="Fetch"><complexType><sequence><element name="_this" type="vim25:ManagedObjectReference"/>'
    '<element name="prop" type="xsd:string"/></sequence></complexType></element>'
    '<element name="FetchResponse"><complexType><sequence><element name="returnval" type="xsd:anyType"'
    ' minOccurs="0"/></sequence></complexType></element>'
)
# It also tells its version in an attribute that the API does not know and servers ignore.
VERSION_ATTRIBUTE = re.compile(rb' versionId="[^"]*"')


class CheckedStub(SoapStubAdapter):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.validator = validate.Validator(FETCH)
        self.mistakes = []

    def GetConnection(self):
        connection = super().GetConnection()
        if isinstance(connection, CheckedConnection):
            return connection
        return CheckedConnection(connection, self._check)

    def _check(self, kind, envelope):
        name = validate.method(envelope)
        self.mistakes += [f"{kind} {name}: {mistake}" for mistake in self.validator.mistakes(envelope)]


class CheckedConnection:
    def __init__(self, connection, check):
        self._connection = connection
        self._check = check

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def request(self, method, path, body, headers):
        self._check("request", VERSION_ATTRIBUTE.sub(b"", body))
        return self._connection.request(method, path, body, headers)

    def getresponse(self):
        response = ReadResponse(self._connection.getresponse())
        self._check("response to", response.getvalue())
        return response


class ReadResponse(io.BytesIO):
    """A response that has been read as a whole."""

    def __init__(self, response):
        super().__init__(response.read())
        self.status = response.status
        self.reason = response.reason
        self.getheader = response.getheader

"""A WSDL of the vSphere API for suds, which oslo.vmware is built on and which wants one before its first call.

    vim_wsdl.py FOLDER          writes vimService.wsdl and vim.wsdl
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "schema"))

import vim_schema  # noqa: E402: found by the line above

WSDL = "http://schemas.xmlsoap.org/wsdl/"
WSDL_SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
SERVICE_NAMESPACE = "urn:vim25Service"


def definitions(namespace, content):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<definitions xmlns="{WSDL}" xmlns:soap="{WSDL_SOAP}"'
        f' xmlns:vim25="{vim_schema.VIM.namespace}" targetNamespace="{namespace}">\n{content}\n</definitions>\n'
    )


def message(name, element):
    return f'<message name="{name}"><part name="parameters" element="vim25:{element}"/></message>'


def interface():
    """The types, a pair of messages for every method, the port type of all methods and its binding to SOAP."""
    names = list(vim_schema.methods(vim_schema.VIM))
    messages, operations, bindings = [], [], []
    for name in names:
        messages += [message(f"{name}Request", name), message(f"{name}Response", f"{name}Response")]
        operations.append(
            f'<operation name="{name}"><input message="vim25:{name}Request"/>'
            f'<output message="vim25:{name}Response"/></operation>'
        )
        literal = '<soap:body use="literal"/>'
        bindings.append(
            f'<operation name="{name}"><soap:operation soapAction="urn:vim25/6.5" style="document"/>'
            f"<input>{literal}</input><output>{literal}</output></operation>"
        )
    return "\n".join([
        f"<types>{vim_schema.schema(vim_schema.VIM)}</types>",
        *messages,
        f'<portType name="VimPortType">{"".join(operations)}</portType>',
        '<binding name="VimBinding" type="vim25:VimPortType">',
        '<soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>',
        *bindings,
        "</binding>",
    ])  # fmt: skip


def service():
    # The address is the caller's: oslo.vmware tells suds where to send its requests.
    return (
        f'<import namespace="{vim_schema.VIM.namespace}" location="vim.wsdl"/>\n'
        '<service name="VimService"><port name="VimPort" binding="vim25:VimBinding">'
        '<soap:address location="https://localhost/sdk"/></port></service>'
    )


def write_wsdl(folder):
    """Writes both files and returns the path of the one to load."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vim.wsdl").write_text(definitions(vim_schema.VIM.namespace, interface()))
    path = folder / "vimService.wsdl"
    path.write_text(definitions(SERVICE_NAMESPACE, service()))
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(write_wsdl(sys.argv[1]))

"""XML schemas of the vSphere services, made from the type tables that pyVmomi carries.

VMware's own schema files are not freely available; pyVmomi's tables are generated from the same source and tell every
type's name, parent, properties (in order, with type and whether optional) and every method's parameters.

    vim_schema.py FOLDER        writes vim.xsd (urn:vim25) and pbm.xsd (urn:pbm)
"""

import pathlib
import sys

from pyVmomi import VmomiSupport, pbm, vim, vmodl  # noqa: F401: importing pbm and vim registers their types
from pyVmomi.VmomiSupport import (
    F_OPTIONAL,
    DataObject,
    ManagedObject,
    GetVmodlType,
    GetWsdlName,
)

XSD = "http://www.w3.org/2001/XMLSchema"

# Types of the tables that XML schema has under another name, or that are plain strings on the wire.
SIMPLE = {
    "anyType": "xsd:anyType",
    "MethodName": "xsd:string",
    "PropertyPath": "xsd:string",
    "TypeName": "xsd:string",
    "Link": "xsd:string",
}
XSD_NAMES = {
    "boolean", "byte", "short", "int", "long", "float", "double", "string",
    "anyURI", "base64Binary", "dateTime",
}  # fmt: skip

# Types that the tables take for granted, or whose form on the wire is not the one that they tell.
FOUNDATIONS = {"DataObject", "LocalizedMethodFault", "MethodFault"}


class Service:
    """One namespace of the API: its prefix, and the first parts of its types' names in the tables."""

    def __init__(self, prefix, namespace, roots):
        self.prefix = prefix
        self.namespace = namespace
        self.roots = roots

    def owns(self, name):
        return name.split(".")[0] in self.roots

    def types(self, names):
        """The distinct types among `names` of this service; a type may be listed under several names."""
        found = {}
        for name in sorted(names):
            if self.owns(name):
                found.setdefault(GetWsdlName(GetVmodlType(name)), GetVmodlType(name))
        return found


VIM = Service("vim25", "urn:vim25", {"vim", "vmodl"})
PBM = Service("pbm", "urn:pbm", {"pbm"})
SERVICES = (VIM, PBM)


def service_of(python_type):
    return PBM if python_type.__name__.startswith("pbm.") else VIM


def type_reference(python_type):
    """The schema's name of a property's or parameter's type."""
    if issubclass(python_type, ManagedObject):
        return "vim25:ManagedObjectReference"
    if issubclass(python_type, vmodl.MethodFault):
        # A fault as a value travels within a LocalizedMethodFault.
        return "vim25:LocalizedMethodFault"
    name = GetWsdlName(python_type)
    if name in SIMPLE:
        return SIMPLE[name]
    if name in XSD_NAMES:
        return "xsd:" + name
    return f"{service_of(python_type).prefix}:{name}"


def element(name, python_type, optional):
    bounds = ' minOccurs="0"' if optional else ""
    if issubclass(python_type, list):
        python_type = python_type.Item
        bounds += ' maxOccurs="unbounded"'
    return f'<element name="{name}" type="{type_reference(python_type)}"{bounds}/>'


def complex_type(name, elements, base=None):
    sequence = f"<sequence>{''.join(elements)}</sequence>"
    if base:
        sequence = f'<complexContent><extension base="{base}">{sequence}</extension></complexContent>'
    return f'<complexType name="{name}">{sequence}</complexType>'


def array_type(name, item):
    items = f'<element name="{name}" type="{item}" minOccurs="0" maxOccurs="unbounded"/>'
    return complex_type("ArrayOf" + name[0].upper() + name[1:], [items])


def data_type(name, python_type):
    parent = python_type.__mro__[1]
    base = None
    if parent is not DataObject and parent not in (object, Exception):
        base = f"{service_of(parent).prefix}:{GetWsdlName(parent)}"
    properties = [element(p.name, p.type, p.flags & F_OPTIONAL) for p in python_type._propList]
    return complex_type(name, properties, base)


def enum_type(name, python_type):
    values = "".join(f'<enumeration value="{value}"/>' for value in python_type.values)
    return f'<simpleType name="{name}"><restriction base="xsd:string">{values}</restriction></simpleType>'


def methods(service):
    """Every method of the service once, by its name on the wire."""
    found = {}
    for name in sorted(VmomiSupport.ListManagedTypes()):
        if service.owns(name):
            for info in GetVmodlType(name)._methodInfo.values():
                found.setdefault(info.wsdlName, info)
    return found


def method_elements(name, info):
    this = '<element name="_this" type="vim25:ManagedObjectReference"/>'
    parameters = [element(p.name, p.type, p.flags & F_OPTIONAL) for p in info.params]
    result = []
    if info.result is not type(None):
        result = [element("returnval", info.result, info.resultFlags & F_OPTIONAL)]
    return [
        complex_type(f"{name}RequestType", [this, *parameters]),
        f'<element name="{name}Response"><complexType><sequence>{"".join(result)}</sequence></complexType></element>',
    ]


def foundations():
    """What the tables take for granted: references, the roots of the faults, and arrays of simple types."""
    reference = (
        '<complexType name="ManagedObjectReference"><simpleContent><extension base="xsd:string">'
        '<attribute name="type" type="xsd:string"/><attribute name="serverGuid" type="xsd:string"/>'
        "</extension></simpleContent></complexType>"
    )
    message = '<element name="localizedMessage" type="xsd:string" minOccurs="0"/>'
    fault = '<element name="fault" type="vim25:MethodFault"/>'
    cause = '<element name="faultCause" type="vim25:LocalizedMethodFault" minOccurs="0"/>'
    messages = (
        '<element name="faultMessage" type="vim25:LocalizableMessage" minOccurs="0" maxOccurs="unbounded"/>'
    )
    lines = [
        reference,
        array_type("ManagedObjectReference", "vim25:ManagedObjectReference"),
        complex_type("LocalizedMethodFault", [fault, message], "vim25:DynamicData"),
        array_type("LocalizedMethodFault", "vim25:LocalizedMethodFault"),
        complex_type("MethodFault", [cause, messages]),
        array_type("MethodFault", "vim25:MethodFault"),
        array_type("anyType", "xsd:anyType"),
        # What a real server puts in front of its answer to a version query.
        '<element name="versionURI" type="xsd:string"/>',
    ]
    return lines + [array_type(name, "xsd:" + name) for name in sorted(XSD_NAMES)]


def schema_body(service):
    """The declarations of a service's schema, as a list of XML fragments."""
    lines = foundations() if service is VIM else []
    for name, python_type in service.types(VmomiSupport.ListDataTypes()).items():
        if name in FOUNDATIONS:
            continue
        lines.append(data_type(name, python_type))
        lines.append(array_type(name, f"{service.prefix}:{name}"))
        if issubclass(python_type, vmodl.MethodFault):
            # In the detail of a SOAP fault.
            lines.append(f'<element name="{name}Fault" type="{service.prefix}:{name}"/>')
    for name, python_type in service.types(VmomiSupport.ListEnumTypes()).items():
        lines.append(enum_type(name, python_type))
        lines.append(array_type(name, f"{service.prefix}:{name}"))
    for name, info in methods(service).items():
        lines += method_elements(name, info)
        lines.append(f'<element name="{name}" type="{service.prefix}:{name}RequestType"/>')
    return lines


def schema(service, more=""):
    prefixes = " ".join(f'xmlns:{s.prefix}="{s.namespace}"' for s in SERVICES)
    body = "\n".join(schema_body(service))
    return (
        f'<schema xmlns="{XSD}" xmlns:xsd="{XSD}" {prefixes} targetNamespace="{service.namespace}"'
        f' elementFormDefault="qualified">\n{more}{body}\n</schema>\n'
    )


def write_schemas(folder, more=""):
    """Writes both schemas and returns the path of the one that includes the other; `more` goes into vim.xsd."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vim.xsd").write_text(schema(VIM, more))
    vim_import = f'<import namespace="{VIM.namespace}" schemaLocation="vim.xsd"/>\n'
    (folder / "pbm.xsd").write_text(schema(PBM, vim_import))
    return folder / "pbm.xsd"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(write_schemas(sys.argv[1]).parent)

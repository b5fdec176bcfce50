"""Holds the simulator's own tables of types and methods against those that pyVmomi carries.

    check_tables.py FILE...     the simulator's schema/*.txt (their form is told in its wire/schema.rs)

Prints a line for every difference; exits with 0 when there is none and at least one entry was compared.
"""

import re
import sys

from pyVmomi import VmomiSupport
from pyVmomi.VmomiSupport import F_OPTIONAL, DataObject, GetWsdlName, ManagedObject

import vim_schema

ENTRY = re.compile(r"(data|managed|method|enum) (.+)")
# These lie beneath pyVmomi's tables or have another form on the wire.
UNTOLD = {"MethodFault", "LocalizedMethodFault", "DynamicData", "ManagedObject", "ManagedObjectReference"}
# Older than the tables; pyVmomi reads properties by it.
UNDOCUMENTED = {"ManagedObject.Fetch"}


def entries(text):
    """The logical lines: an indented one continues the one before."""
    for line in re.sub(r"\n[ \t]+", " ", text).splitlines():
        found = ENTRY.match(line)
        if found:
            yield found.groups()
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"not an entry: {line}")


def written(info_type, optional):
    """A type as the simulator writes it."""
    mark = "?" if optional else ""
    if issubclass(info_type, list):
        info_type, mark = info_type.Item, "[]" + mark
    if issubclass(info_type, ManagedObject):
        return f"&{GetWsdlName(info_type)}{mark}"
    return vim_schema.type_reference(info_type).split(":")[1] + mark


def fields(infos):
    return [f"{info.name} {written(info.type, info.flags & F_OPTIONAL)}" for info in infos]


def split_fields(text):
    return [" ".join(field.split()) for field in text.split(",") if field.strip()]


class Tables:
    def __init__(self):
        services = vim_schema.SERVICES
        self.data = self._all(services, VmomiSupport.ListDataTypes())
        self.managed = self._all(services, VmomiSupport.ListManagedTypes())
        self.enums = self._all(services, VmomiSupport.ListEnumTypes())

    @staticmethod
    def _all(services, names):
        return {wsdl: kind for service in services for wsdl, kind in service.types(names).items()}

    def compare(self, kind, text):
        """The differences of one entry."""
        return getattr(self, f"_{kind}")(text)

    def _data(self, text):
        return self._composite(text, self.data)

    def _managed(self, text):
        return self._composite(text, self.managed)

    def _composite(self, text, known):
        head, _, body = text.partition("=")
        name, _, parent = (part.strip() for part in head.partition(":"))
        if name in UNTOLD:
            return []
        if name not in known:
            return [f"{name}: no such type"]
        base = known[name].__mro__[1]
        expected = "" if base in (DataObject, object) else GetWsdlName(base)
        differences = [] if parent.replace("DataObject", "") == expected else [f"{name}: parent {parent}, expected {expected}"]
        return differences + differing(name, split_fields(body), fields(known[name]._propList))

    def _enum(self, text):
        name, _, body = (part.strip() for part in text.partition("="))
        if name not in self.enums:
            return [f"{name}: no such enumeration"]
        return differing(name, sorted(body.split()), sorted(self.enums[name].values))

    def _method(self, text):
        owner, name, parameters, result = re.fullmatch(
            r"(\w+)\.(\w+) \((.*)\) -> (\S+)", text.strip()
        ).groups()
        if f"{owner}.{name}" in UNDOCUMENTED:
            return []
        methods = {info.wsdlName: info for info in getattr(self.managed.get(owner), "_methodInfo", {}).values()}
        if name not in methods:
            return [f"{owner}.{name}: no such method"]
        info = methods[name]
        returned = "void" if info.result is type(None) else written(info.result, info.resultFlags & F_OPTIONAL)
        found = [*split_fields(parameters), f"-> {result}"]
        return differing(f"{owner}.{name}", found, [*fields(info.params), f"-> {returned}"])


def differing(name, found, expected):
    if found == expected:
        return []
    wrong = [field for field in found if field not in expected]
    missing = [field for field in expected if field not in found]
    if not wrong and not missing:
        return [f"{name}: the order is {found}, expected {expected}"]
    return [f"{name}: has {wrong}, lacks {missing}"]


def main(paths):
    if not paths:
        sys.exit(__doc__)
    tables = Tables()
    count, differences = 0, []
    for path in paths:
        with open(path) as file:
            for kind, text in entries(file.read()):
                count += 1
                differences += tables.compare(kind, text)
    for difference in differences:
        print(difference)
    print(f"{count} entries, {len(differences)} differences")
    return 0 if count and not differences else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

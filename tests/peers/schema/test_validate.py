"""The validator against messages that are right and messages with one mistake each; `python -m unittest`."""

import unittest

import validate

LOGIN = """<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this>\
<userName>root</userName><password>secret</password></Login>"""

RECONFIGURE = """<ReconfigVM_Task xmlns="urn:vim25"><_this type="VirtualMachine">vm-1</_this><spec>\
<deviceChange><operation>add</operation><device xsi:type="VirtualDisk"><key>-101</key>\
<backing xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>[ds] a/a.vmdk</fileName>\
<diskMode>persistent</diskMode></backing><controllerKey>1000</controllerKey><unitNumber>0</unitNumber>\
<capacityInKB>0</capacityInKB></device></deviceChange>\
<extraConfig xsi:type="OptionValue"><key>a</key><value xsi:type="xsd:string">b</value></extraConfig>\
</spec></ReconfigVM_Task>"""

QUERY_PROFILE = """<PbmQueryProfile xmlns="urn:pbm"><_this type="PbmProfileProfileManager">ProfileManager</_this>\
<resourceType><resourceType>STORAGE</resourceType></resourceType></PbmQueryProfile>"""


def envelope(payload):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<soapenv:Header><operationID>x</operationID></soapenv:Header><soapenv:Body>{payload}</soapenv:Body>"
        "</soapenv:Envelope>"
    ).encode()


class ValidatorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.validator = validate.Validator()

    def assert_right(self, payload):
        self.assertEqual(self.validator.mistakes(envelope(payload)), [])

    def assert_wrong(self, payload, old, new):
        self.assertIn(old, payload)
        self.assertNotEqual(self.validator.mistakes(envelope(payload.replace(old, new))), [])

    def test_right_requests_hold(self):
        self.assert_right(LOGIN)
        self.assert_right(RECONFIGURE)
        self.assert_right(QUERY_PROFILE)

    def test_a_right_response_and_a_right_fault_hold(self):
        self.assert_right('<LogoutResponse xmlns="urn:vim25"/>')
        self.assert_right(
            '<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring><detail>'
            '<InvalidLoginFault xmlns="urn:vim25" xsi:type="InvalidLogin"/></detail></soapenv:Fault>'
        )

    def test_elements_out_of_order_are_found(self):
        first, second = "<userName>root</userName>", "<password>secret</password>"
        self.assert_wrong(LOGIN, first + second, second + first)
        unit, controller = "<unitNumber>0</unitNumber>", "<controllerKey>1000</controllerKey>"
        self.assert_wrong(RECONFIGURE, controller + unit, unit + controller)

    def test_a_missing_element_is_found(self):
        self.assert_wrong(LOGIN, "<password>secret</password>", "")
        self.assert_wrong(RECONFIGURE, "<diskMode>persistent</diskMode>", "")

    def test_an_unknown_element_is_found(self):
        self.assert_wrong(LOGIN, "</Login>", "<extra>1</extra></Login>")

    def test_a_wrong_type_is_found(self):
        self.assert_wrong(RECONFIGURE, "<key>-101</key>", "<key>disk</key>")
        self.assert_wrong(RECONFIGURE, "<operation>add</operation>", "<operation>insert</operation>")
        self.assert_wrong(RECONFIGURE, 'xsi:type="VirtualDisk"', 'xsi:type="VirtualCdromIsoBackingInfo"')

    def test_a_missing_type_of_a_subtypes_element_is_found(self):
        self.assert_wrong(RECONFIGURE, ' xsi:type="VirtualDisk"', "")

    def test_an_unknown_method_or_namespace_is_found(self):
        self.assert_wrong(LOGIN, "Login", "LogOn")
        self.assert_wrong(LOGIN, "urn:vim25", "urn:vim26")
        self.assert_wrong(QUERY_PROFILE, "urn:pbm", "urn:vim25")

    def test_several_messages_in_one_file_are_told_apart(self):
        both = envelope(LOGIN) + b"\n" + envelope(RECONFIGURE).split(b"\n", 1)[1]
        self.assertEqual([validate.method(one) for one in validate.messages(both)], ["Login", "ReconfigVM_Task"])


if __name__ == "__main__":
    unittest.main()

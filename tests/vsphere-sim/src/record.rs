//! What was asked of the simulator, word by word.

/// A request to the endpoint or a data host.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The SOAP method, or the HTTP method of any other request.
    pub method: String,
    pub path: String,
    pub soap_action: String,
    /// The body of a SOAP request as it came, passwords included; of other requests nothing.
    pub body: String,
    /// All header fields, in lower case.
    pub headers: Vec<(String, String)>,
    /// The data host that was asked, beginning with 0; `None` for the endpoint.
    pub data_host: Option<usize>,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }
}

//! What the fuzzers have in common.

#[path = "../../it/vmdk/disk.rs"]
pub mod disk;
pub mod memory;
pub mod plan;
pub mod verdict;
#[path = "../../it/vmdk/writer.rs"]
pub mod writer;

/// What a server sends as the answer to `method`, with `content` inside.
pub fn answer(method: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("<Envelope xmlns:xsi=\"x\"><Body><{method}Response>");
    let foot = format!("</{method}Response></Body></Envelope>");
    [head.as_bytes(), content, foot.as_bytes()].concat()
}

//! Another library in Rust, which has the same standard library and panics inside.

/// Adds what cannot be added without an overflow, and returns -1 for it.
#[unsafe(no_mangle)]
pub extern "C" fn another_sum(left: i32, right: i32) -> i32 {
    let sum = std::panic::catch_unwind(|| left.checked_add(right).ok_or(()).unwrap());
    sum.unwrap_or(-1)
}

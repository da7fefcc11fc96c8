//! Keeps a module small after large answers, such as a cloud of points.

/// Blocks from this size on go back to the system when they are freed, in bytes. Smaller ones, such as pictures, are
/// worth keeping for the next call.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RETURNED_FROM: libc::c_int = 1024 * 1024;

/// Tells the allocator to give large blocks back.
///
/// By itself glibc learns from the first large block that such blocks come often, and keeps the room of every later
/// one: four clouds of points at once left a module at 116 MB for good.
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the allocator can be told by a C function alone")
)]
pub(crate) fn give_large_blocks_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: It takes two numbers and is called before any other thread begins. A refusal leaves things as they were.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_FROM);
    }
}

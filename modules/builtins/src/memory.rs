//! Allocator settings that keep a module small after large responses, such as a point cloud.

/// Size in bytes from which freed blocks are returned to the system. Smaller ones, such as images, are
/// worth keeping for the next call.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RETURNED_FROM: libc::c_int = 1024 * 1024;

/// Makes the allocator return large freed blocks to the system.
///
/// By default glibc raises its threshold after the first large block and keeps the memory of every later one: four
/// concurrent point clouds left a module at 116 MB for good.
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

//! Heap settings: memory that will be needed again in a moment stays with the process.

/// Free memory at the end of the heap that is kept, in bytes. glibc's default of 128 KiB gives every camera frame's
/// memory back and faults it in again, page by page, for the next one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 4 << 20;

/// Shortest time between two rounds of giving memory back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ROUND: std::time::Duration = std::time::Duration::from_secs(5);

/// Gives memory that nobody uses back to the system. Call it when things have calmed down, and again later when it
/// says no: it does so only once in a while.
pub fn give_back() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::sync::Mutex;
        use std::time::Instant;
        static LAST: Mutex<Option<Instant>> = Mutex::new(None);
        // Whoever holds the lock is giving back already.
        let Ok(mut last) = LAST.try_lock() else { return true };
        let now = Instant::now();
        if last.is_some_and(|last| now.saturating_duration_since(last) < ROUND) {
            return false;
        }
        *last = Some(now);
        #[expect(unsafe_code, reason = "glibc offers this to C only")]
        // SAFETY: releases free memory only, under the allocator's own locks.
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
    true
}

/// Sets the allocator up for passing large messages on. Call it once, before the first thread is started.
pub fn prepare() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
        // One arena, because one thread does nearly all of the work and every arena keeps its own free memory.
        for (option, value) in [(M_TRIM_THRESHOLD, KEPT), (M_MMAP_THRESHOLD, KEPT), (M_ARENA_MAX, 1)] {
            #[expect(unsafe_code, reason = "glibc offers this to C only")]
            // SAFETY: sets numbers in the allocator; any number is allowed, and a refused one changes nothing.
            unsafe {
                mallopt(option, value);
            }
        }
    }
}

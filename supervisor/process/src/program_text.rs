//! Pages of program text: most of what a small process keeps in memory, and needed in great part for its start alone.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::NonNull;

/// Takes the pages of program text out of this process's memory. Whatever runs on comes back from the page cache at its next
/// use, 64 KiB at a time; what served the start alone does not. Returns the bytes of the mappings.
///
/// # Errors
/// The system does not tell the mappings, or refuses.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "madvise works on addresses")]
pub fn release() -> io::Result<usize> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut released = 0;
    for (start, length) in maps.lines().filter_map(text_mapping) {
        let Some(address) = NonNull::new(start as *mut c_void) else {
            continue;
        };
        // SAFETY: the range is a private mapping of a file that nobody has written to: text is position-independent and never
        // relocated, so its pages hold what the file holds and are read from there again. The file cannot change meanwhile:
        // the kernel lets nobody write to a program that runs.
        unsafe { nix::sys::mman::madvise(address, length, nix::sys::mman::MmapAdvise::MADV_DONTNEED) }?;
        released += length;
    }
    Ok(released)
}

/// Nothing is known of mappings here.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn release() -> io::Result<usize> {
    Ok(0)
}

/// Address and length of a mapping that is text of a file: `55d0-55e0 r-xp 0000 08:01 42 /usr/bin/mainstay`.
fn text_mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let file = fields.nth(3)?;
    if rights != "r-xp" || !file.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_files_counts() {
        for (line, mapping) in [
            (
                "1000-3000 r-xp 00001000 08:01 42    /usr/bin/mainstay",
                Some((0x1000, 0x2000)),
            ),
            // Relocated when the program was loaded: its pages are not what the file holds.
            ("1000-3000 r--p 00001000 08:01 42    /usr/bin/mainstay", None),
            ("1000-3000 rw-p 00001000 08:01 42    /usr/bin/mainstay", None),
            ("1000-3000 rwxp 00001000 08:01 42    /usr/bin/mainstay", None),
            ("7000-8000 r-xp 00000000 00:00 0     [vdso]", None),
            ("7000-8000 r-xp 00000000 00:00 0", None),
            ("", None),
        ] {
            assert_eq!(text_mapping(line), mapping, "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_released_still_runs() {
        let before = release().expect("the system allows it");
        assert!(before > 0);
        assert_eq!(release().expect("once more"), before, "nothing was unmapped");
    }
}

//! Checks whether a WebAssembly file is complete: each section states its length, and the last one must end with the
//! file.

/// The first four bytes of every WebAssembly file.
pub(super) const MAGIC: &[u8] = b"\0asm";
const PREAMBLE: usize = 8;

/// Checks whether the last section ends with the file. A file that is still being copied ends within a section or
/// within the preamble. A file that is not WebAssembly counts as complete.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if start != &MAGIC[..start.len()] {
        return true;
    }
    let Some(mut rest) = bytes.get(PREAMBLE..) else { return false };
    while !rest.is_empty() {
        let Some(after) = skip_section(rest) else { return false };
        rest = after;
    }
    true
}

/// Returns the bytes after the first section: a byte of id, a length, and that many bytes.
fn skip_section(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = unsigned(bytes.get(1..)?)?;
    rest.get(length..)
}

/// Decodes an unsigned LEB128 integer of 32 bits. Returns it and the bytes after it.
fn unsigned(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_truncation_is_detected_except_between_sections() {
        let mut file = b"\0asm\x0d\0\x01\0".to_vec();
        file.extend([0, 3, 1, b'a', b'b']);
        let boundary = file.len();
        file.extend([1, 0x81, 0x01]);
        file.extend([7; 129]);
        assert!(is_complete(&file));
        for cut in 0..file.len() {
            assert_eq!(is_complete(&file[..cut]), cut == boundary || cut == PREAMBLE, "cut at {cut}");
        }
    }

    #[test]
    fn a_file_that_is_not_webassembly_is_complete() {
        assert!(is_complete(b"hello"));
        assert!(is_complete(b"\0as."));
        assert!(is_complete(b"\0asm\x01\0\0\0"));
    }

    #[test]
    fn an_overlong_length_is_incomplete() {
        assert!(!is_complete(b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\xff\xff"));
    }
}

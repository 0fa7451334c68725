//! Whether a WebAssembly file is whole: its sections say how long they are, and must end where the file does.

/// The first four bytes of every WebAssembly file.
pub(super) const MAGIC: &[u8] = b"\0asm";
const PREAMBLE: usize = 8;

/// Whether the last section ends with the file. A file that is still being copied ends within a section, or is not yet
/// as long as the preamble; anything that is not WebAssembly is as whole as it gets.
pub(super) fn whole(bytes: &[u8]) -> bool {
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

/// One byte of id, a length, and so many bytes.
fn skip_section(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = unsigned(bytes.get(1..)?)?;
    rest.get(length..)
}

/// An unsigned LEB128 of 32 bits.
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
    fn every_cut_of_a_file_is_noticed_except_between_sections() {
        let mut file = b"\0asm\x0d\0\x01\0".to_vec();
        file.extend([0, 3, 1, b'a', b'b']);
        let boundary = file.len();
        file.extend([1, 0x81, 0x01]);
        file.extend([7; 129]);
        assert!(whole(&file));
        for cut in 0..file.len() {
            assert_eq!(whole(&file[..cut]), cut == boundary || cut == PREAMBLE, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_webassembly_is_as_whole_as_it_gets() {
        assert!(whole(b"hello"));
        assert!(whole(b"\0as."));
        assert!(whole(b"\0asm\x01\0\0\0"));
    }

    #[test]
    fn a_length_that_never_ends_is_not_whole() {
        assert!(!whole(b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\xff\xff"));
    }
}

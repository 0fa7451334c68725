//! Text for users: which characters it may have, and how any other text is shown.

use crate::limits;

/// Returns whether a character is invisible, changes the direction of writing, or ends a line: it can make text look
/// like other text, or move the cursor of a terminal. These are control characters, and Unicode's format characters,
/// line separators and fillers; the selectors that give an emoji its colour are allowed.
#[must_use]
pub fn is_unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the beginning of a text for an error message: in one line, with unprintable characters escaped.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let mut excerpt = String::new();
    let mut chars = text.chars();
    for char in chars.by_ref().take(limits::EXCERPT_CHARS) {
        put_escaped(&mut excerpt, char);
    }
    if chars.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Returns the whole text in one line, with unprintable characters escaped.
#[must_use]
pub fn in_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    text.chars().for_each(|char| put_escaped(&mut line, char));
    line
}

/// Writes a number with separators: `1,024`.
#[must_use]
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Appends a character: unchanged if it is printable, otherwise escaped, such as `\n` and `\u{202e}`.
pub(crate) fn put_escaped(text: &mut String, char: char) {
    match char {
        '\n' | '\r' | '\t' | '\0' => text.extend(char.escape_debug()),
        _ if is_unprintable(char) => text.extend(char.escape_unicode()),
        _ => text.push(char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unprintable_characters_are_escaped_and_others_are_kept() {
        let spoof = "a\nb\r\0\t\u{1b}[2J\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{61c}\u{ad}\u{e0041}";
        let shown =
            "a\\nb\\r\\0\\t\\u{1b}[2J\\u{9b}\\u{202e}\\u{2066}\\u{200b}\\u{feff}\\u{2028}\\u{61c}\\u{ad}\\u{e0041}";
        assert_eq!(excerpt(spoof), shown);
        assert_eq!(excerpt("Tür öffnen ❤\u{fe0f} 🐓 дверь 門"), "Tür öffnen ❤\u{fe0f} 🐓 дверь 門");
        assert_eq!(excerpt(&"ß".repeat(121)), format!("{}…", "ß".repeat(120)));
    }
}

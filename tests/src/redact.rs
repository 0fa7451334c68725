//! Texts without what differs from one run of a test to the next.

use std::path::Path;

use regex_lite::Regex;

/// What varies, and the word that stands for it in a snapshot. Each is replaced everywhere before the next one.
const VARIABLE: [(&str, &str); 27] = [
    (r"/tmp/\.tmp[0-9A-Za-z]{6}", "[FOLDER]"),
    // Other than the usual ones, 1883 and 8080, which are in hints.
    (r"(127\.0\.0\.1|0\.0\.0\.0|localhost):\d{5}", "$1:[PORT]"),
    // The time that messages have as an example stays.
    (EXAMPLE, "[EXAMPLE]"),
    // `2026-11-30T06:30:00.5Z`, and as people read it: `Mon 2026-11-30 06:30:00 GMT`.
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "[TIME]"),
    (r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC| GMT| BST| [+-]\d\d:\d\d)?", "[TIME]"),
    // In tables, where the date and the seconds are left out if they say nothing, and columns are as wide as they need.
    (r"(?m)(NEXT PLAN|NEXT|TIME)( \([+-]\d\d:\d\d\))? +([A-Z])", "$1 ([ZONE])  $3"),
    (r"(?m)^(\[TIME\]|\d\d:\d\d(:\d\d)?|never)(, [a-z]+)? {2,}", "[TIME]$3  "),
    (r"Europe/London  (\[TIME\]|\d\d:\d\d(:\d\d)?) *", "Europe/London  [TIME]  "),
    (r" since \d\d:\d\d:\d\d", " since [TIME]"),
    (r"[ ]at \d\d:\d\d:\d\d", " at [TIME]"),
    (r"\d{4}-\d\d-\d\d", "[DATE]"),
    (r"\[EXAMPLE\]", EXAMPLE),
    (r"\d+(m\d+)?s(\d+ms)? late", "[SPAN] late"),
    (r"in \d+ (day|hour|minute|second)s?", "in [SPAN]"),
    (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
    (r"\b[0-9a-f]{32}\b", "[ID]"),
    (r"\bprocess \d+", "process [PID]"),
    // What compilers choose.
    (r"wasm function \d+", "wasm function [N]"),
    (r"::h[0-9a-f]{16}", "::[HASH]"),
    (r"/proc/self/fd/\d+", "/proc/self/fd/[N]"),
    (r"at offset 0x[0-9a-f]+", "at offset [N]"),
    // What plugins have used, and the width of its columns.
    (r"PLAN +MEMORY +ERROR", "PLAN  MEMORY  ERROR"),
    (r"( +\d+ ms)? +\d+\.\d MiB(  |\n)", "  [USED]$2"),
    (r"(\d) {15,}`", "$1  [NONE]  `"),
    (r"calls     \d+,", "calls     [COUNT],"),
    (r"last (\d+ ms|none), longest (\d+ ms|none)", "last [SPAN], longest [SPAN]"),
    (r"at most \d+\.\d MiB", "at most [SIZE]"),
];
const EXAMPLE: &str = "2027-03-01T06:30:00Z";

/// Replaces what differs from one run of a test to the next: temporary folders, ports, times, digests, processes.
pub fn redact(text: &str) -> String {
    VARIABLE.iter().fold(text.to_owned(), |text, (pattern, word)| {
        let pattern = Regex::new(pattern).expect("a pattern of this file");
        pattern.replace_all(&text, *word).into_owned()
    })
}

/// As [`redact`], with `[SITE]` for a folder, also where it is not below `/tmp`.
pub fn redact_in(folder: &Path, text: &str) -> String {
    redact(&text.replace(&folder.display().to_string(), "[SITE]"))
}

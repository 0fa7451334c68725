//! The template of a reason: its text without what differs between faults of the same cause.

use super::limits;

/// Returns the template of the beginning of a fault's reason, with the names of its plugin, device and job. The rest of a
/// long one tells no causes apart, and the scheduler waits meanwhile (I10).
pub(super) fn of_fault(reason: &str, names: [&str; 3]) -> String {
    let line = reason.lines().next().unwrap_or_default();
    let most = line.floor_char_boundary(limits::TEMPLATE_BYTES);
    let mut text = template(&line[..most], &names);
    if most < line.len() && !text.ends_with('…') {
        text.push('…');
    }
    text
}

/// Replaces what is quoted, the given names, and each word with a digit by `…`; several of them in a row by one.
pub(super) fn template(reason: &str, names: &[&str]) -> String {
    let mut text = String::with_capacity(reason.len());
    for (index, part) in reason.split('`').enumerate() {
        if index % 2 == 1 {
            text.push_str("`…`");
            continue;
        }
        let is_of_word = |char: char| char.is_alphanumeric() || "_-+.:/".contains(char);
        for piece in part.split_inclusive(|char| !is_of_word(char)) {
            let word = piece.trim_end_matches(|char| !is_of_word(char));
            // Punctuation that ends a word is not part of it.
            let core = word.trim_end_matches(['.', ':']);
            let is_variable =
                core.contains(|char: char| char.is_numeric()) || !core.is_empty() && names.contains(&core);
            if !is_variable {
                text.push_str(piece);
            } else if text.ends_with("… ") {
                text.truncate(text.len() - 1);
                text.push_str(&piece[core.len()..]);
            } else {
                text.push('…');
                text.push_str(&piece[core.len()..]);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn of_a_long_reason_only_the_beginning_counts() {
        let reason = |end: &str| format!("the device answers ü{}{end}", " and".repeat(1_000));
        let template = of_fault(&reason(" no"), ["", "", ""]);
        assert_eq!(template, of_fault(&reason(" yes\nhint: 7"), ["", "", ""]));
        assert!(template.len() <= limits::TEMPLATE_BYTES + 3 && template.ends_with('…'), "{template}");
    }

    #[test]
    fn names_and_numbers_are_taken_out_of_reasons() {
        let names = ["coop-door", "door-17", "close"];
        let reasons = [
            "step 1 was given up after 3 attempts: the connection was lost before the broker answered",
            "the host was not running, or the machine slept; it would have started 12m late, and its grace is 1m30s",
            "12m 30s late: the host was not running",
            "publishing to `barn/door-17` is not granted",
            "only the newest run, of 2027-03-01T06:45:00Z, is caught up",
            "door-17 of coop-door does not answer at 10.0.0.17:1883: close it.",
            "a text with an odd ` quote 7",
            "",
        ];
        let templates = reasons.map(|reason| template(reason, &names)).join("\n");
        expect![[r#"
            step … was given up after … attempts: the connection was lost before the broker answered
            the host was not running, or the machine slept; it would have started … late, and its grace is …
            … late: the host was not running
            publishing to `…` is not granted
            only the newest run, of …, is caught up
            … of … does not answer at …: … it.
            a text with an odd `…`
        "#]]
        .assert_eq(&templates);
    }
}

//! JUnit XML, as build servers read it: a suite a group, a case a check.

use std::fmt::Write;

use super::{Entry, Report, Verdict};

pub(super) fn write(report: &Report) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        xml,
        "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
        escape(&report.origin),
        report.entries.len(),
        report.count(Verdict::Failed),
        report.count(Verdict::Skipped),
        report.seconds
    );
    for group in report.entries.chunk_by(|a, b| a.group == b.group) {
        let of = |verdict| group.iter().filter(|entry| entry.verdict == verdict).count();
        let (failed, skipped) = (of(Verdict::Failed), of(Verdict::Skipped));
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">",
            group[0].group,
            group.len()
        );
        group.iter().for_each(|entry| case(&mut xml, entry));
        xml.push_str("  </testsuite>\n");
    }
    xml + "</testsuites>\n"
}

fn case(xml: &mut String, entry: &Entry) {
    let _ = write!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">",
        entry.group, entry.name, entry.seconds
    );
    if let Some(failure) = &entry.failure {
        let body = format!("{}\n{}\n{}", failure.what, failure.look, failure.lines.join("\n"));
        let _ = write!(xml, "<failure message=\"{}\">{}</failure>", escape(&failure.what), escape(&body));
    } else if entry.verdict == Verdict::Skipped {
        let _ = write!(xml, "<skipped message=\"{}\"/>", escape(&entry.reason));
    }
    let figures = entry.figures.iter().map(|f| format!("{}: {:.3} {}", f.name, f.value, f.unit));
    let said: Vec<String> = entry.notes.iter().cloned().chain(figures).collect();
    if !said.is_empty() {
        let _ = write!(xml, "<system-out>{}</system-out>", escape(&said.join("\n")));
    }
    xml.push_str("</testcase>\n");
}

/// Text that an attribute or an element may hold. What XML 1.0 cannot hold at all becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push('\t'),
            c if c < ' ' || ('\u{FFFE}'..='\u{FFFF}').contains(&c) => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_plugin_says_breaks_the_document() {
        assert_eq!(escape("a<b>&\"\u{1b}\u{0}\n"), "a&lt;b&gt;&amp;&quot;\u{FFFD}\u{FFFD}&#10;");
    }
}

//! Turns the part of Markdown that our manual pages use into what `man` reads.
//!
//! Headings, paragraphs, fenced code, bullet lists, tables (first column as the term), bold, italic, `code` and links.

/// The body of a page, from its first `##` heading on.
pub(super) fn to_roff(markdown: &str) -> String {
    let mut page = Page::default();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            let _language = fence;
            let code: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .collect();
            page.code(&code);
        } else if line.starts_with("<!--") {
            // A comment, possibly over several lines.
            let mut last = line;
            while !last.contains("-->") {
                let Some(next) = lines.next() else { break };
                last = next;
            }
        } else if let Some(heading) = line.strip_prefix("### ") {
            page.heading("SS", heading);
        } else if let Some(heading) = line.strip_prefix("## ") {
            // Words are written large, as is the custom; what is typed stays as it is typed.
            let words = heading.chars().all(|c| c.is_alphabetic() || c == ' ');
            let shown = if words {
                heading.to_uppercase()
            } else {
                heading.to_owned()
            };
            page.heading("SH", &shown);
        } else if line.starts_with("# ") {
            // The title, which the header line of the page shows.
        } else if line.trim().is_empty() {
            page.gap();
        } else if line.starts_with('|') {
            let mut rows = vec![cells(line)];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(cells(row));
            }
            page.table(&rows);
        } else if let Some(item) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
            let mut text = item.to_owned();
            while let Some(more) =
                lines.next_if(|line| line.starts_with("  ") && !line.trim().is_empty())
            {
                text.push(' ');
                text.push_str(more.trim());
            }
            page.item(&text);
        } else {
            page.text(line);
        }
    }
    page.out
}

#[derive(Default)]
struct Page {
    out: String,
    /// A blank line was read; the next text opens a paragraph.
    open: bool,
}

impl Page {
    fn heading(&mut self, request: &str, text: &str) {
        self.line(&format!(
            ".{request} \"{}\"",
            inline(text).replace('"', "\\(dq")
        ));
        self.open = false;
    }

    fn gap(&mut self) {
        self.open = true;
    }

    fn text(&mut self, text: &str) {
        if self.open {
            self.line(".PP");
            self.open = false;
        }
        self.line(&guarded(&inline(text)));
    }

    fn item(&mut self, text: &str) {
        self.line(".IP \\(bu 3");
        self.line(&guarded(&inline(text)));
        self.open = false;
    }

    fn code(&mut self, lines: &[&str]) {
        self.line(".PP");
        self.line(".RS 4");
        self.line(".nf");
        for line in lines {
            self.line(&guarded(&escaped(line)));
        }
        self.line(".fi");
        self.line(".RE");
        self.open = true;
    }

    /// The first cell of a row is the term, the others explain it; headings of further columns are kept as words.
    fn table(&mut self, rows: &[Vec<String>]) {
        let headings = &rows[0];
        for row in rows.iter().skip(1).filter(|row| !is_rule(row)) {
            self.line(".TP");
            self.line(&guarded(&inline(&row[0])));
            let explained: Vec<String> = row
                .iter()
                .zip(headings)
                .skip(1)
                .filter(|(cell, _)| !cell.is_empty())
                .enumerate()
                .map(|(index, (cell, heading))| {
                    if index == 0 && row.len() == 2 {
                        inline(cell)
                    } else {
                        format!("{}: {}", inline(heading), inline(cell))
                    }
                })
                .collect();
            let explained = explained.join("\n.br\n");
            self.line(&guarded(if explained.is_empty() {
                "\\&"
            } else {
                &explained
            }));
        }
        self.open = true;
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }
}

fn cells(row: &str) -> Vec<String> {
    let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
    // A bar inside a cell is written `\|`.
    inner
        .replace("\\|", "\u{0}")
        .split('|')
        .map(|cell| cell.trim().replace('\u{0}', "|"))
        .collect()
}

fn is_rule(row: &[String]) -> bool {
    row.iter()
        .all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':'))
}

/// Bold, italic, code and links of one line.
pub(super) fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let matched = span(rest, "`")
            .map(|(inside, after)| (format!("\\fB{}\\fR", escaped(inside)), after))
            .or_else(|| {
                span(rest, "**")
                    .map(|(inside, after)| (format!("\\fB{}\\fR", escaped(inside)), after))
            })
            .or_else(|| {
                span(rest, "*")
                    .map(|(inside, after)| (format!("\\fI{}\\fR", escaped(inside)), after))
            })
            .or_else(|| link(rest).map(|(inside, after)| (inline(inside), after)));
        if let Some((set, after)) = matched {
            out.push_str(&set);
            rest = after;
        } else {
            let mut characters = rest.chars();
            let first = characters.next().unwrap_or_default();
            out.push_str(&escaped(first.encode_utf8(&mut [0; 4])));
            rest = characters.as_str();
        }
    }
    out
}

/// What stands between two marks at the start, and what follows.
fn span<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let inside = text.strip_prefix(mark)?;
    let end = inside.find(mark)?;
    // A lone star is no emphasis.
    let fits = end > 0 && !inside.starts_with(char::is_whitespace);
    fits.then(|| (&inside[..end], &inside[end + mark.len()..]))
}

fn link(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('[')?;
    let (shown, after) = inside.split_once("](")?;
    let (_, after) = after.split_once(')')?;
    (!shown.contains('[')).then_some((shown, after))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '…' => out.push_str("..."),
            '→' => out.push_str("\\(->"),
            '–' | '—' => out.push_str("\\-"),
            '“' | '”' => out.push_str("\\(dq"),
            other => out.push(other),
        }
    }
    out
}

/// A line that begins with a dot would be a request.
fn guarded(line: &str) -> String {
    if line.starts_with('.') {
        format!("\\&{line}")
    } else {
        line.to_owned()
    }
}

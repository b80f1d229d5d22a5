//! The manual pages: made from docs/man/*.md and from the command line itself, and readable by man(1).
//!
//! `make man` writes them anew; these tests fail while a page does not say what its sources say.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod markdown;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn manual_pages_say_what_their_sources_say() {
    let mut stale = Vec::new();
    for page in pages() {
        let made = render(&page);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&page.roff, &made).expect("docs/man can be written");
        }
        if fs::read_to_string(&page.roff).unwrap_or_default() != made {
            stale.push(page.name);
        }
    }
    assert!(stale.is_empty(), "run `make man` and commit: {stale:?}");
}

#[test]
fn man_reads_every_page_without_a_warning() {
    for page in pages() {
        let read = Command::new("man")
            .args(["--warnings", "--encoding=utf8", "--local-file"])
            .arg(&page.roff)
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("man is installed");
        let shown = String::from_utf8_lossy(&read.stdout);
        let complaints = String::from_utf8_lossy(&read.stderr);
        assert!(
            read.status.success() && complaints.is_empty(),
            "{}: {complaints}",
            page.name
        );
        assert!(shown.contains("DESCRIPTION"), "{}: {shown}", page.name);
    }
}

#[test]
fn there_is_a_page_for_each_program_and_for_the_policy() {
    let names: Vec<String> = pages().into_iter().map(|page| page.name).collect();
    for expected in ["renewd.8", "renewd-ccm.8", "renewd.toml.5"] {
        assert!(
            names.iter().any(|name| name == expected),
            "{expected} is missing in {names:?}"
        );
    }
}

#[test]
fn every_exit_status_is_in_the_manual_and_in_the_operations_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("src/cli/exit.rs")).expect("exit.rs");
    let codes: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => "))
        .filter_map(|(_, code)| code.strip_suffix(','))
        .filter(|code| code.parse::<u8>().is_ok_and(|code| code == 0 || code >= 64))
        .collect();
    assert!(codes.len() >= 8, "the codes were not found: {codes:?}");
    for page in ["docs/man/renewd.8.md", "docs/operations.md"] {
        let text = fs::read_to_string(root.join(page)).expect("a page");
        for code in &codes {
            assert!(
                text.contains(&format!("\n| {code} | ")),
                "{page} lacks {code}"
            );
        }
    }
}

struct Page {
    /// Such as `renewd.8`.
    name: String,
    source: PathBuf,
    roff: PathBuf,
}

fn pages() -> Vec<Page> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    let mut pages: Vec<Page> = fs::read_dir(&directory)
        .expect("docs/man exists")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|source| {
            let roff = source.with_extension("");
            let name = roff.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            Page { name, source, roff }
        })
        .collect();
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

fn render(page: &Page) -> String {
    let (title, section) = page.name.rsplit_once('.').expect("a page has a section");
    let text = fs::read_to_string(&page.source).expect("a page has a source");
    let mut body = markdown::to_roff(&text);
    if page.name == "renewd.8" {
        let command = renewd::cli::command();
        for (mark, generated) in [
            ("@synopsis@\n", synopsis(&command)),
            ("@commands@\n", commands(&command)),
            ("@options@\n", options(&command)),
        ] {
            assert!(body.contains(mark), "{mark} is missing in renewd.8.md");
            body = body.replace(mark, &generated);
        }
    }
    format!(
        ".\\\" Made from docs/man/{title}.{section}.md by `make man`.\n\
         .TH \"{}\" \"{section}\" \"\" \"renewd {}\"\n.ad l\n.nh\n{body}",
        title.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
    )
}

fn synopsis(command: &clap::Command) -> String {
    section(command, clap_mangen::Man::render_synopsis_section)
        .replace("<\\fIsubcommands\\fR>", "\\fICOMMAND\\fR")
}

fn options(command: &clap::Command) -> String {
    section(command, clap_mangen::Man::render_options_section)
}

/// Each command with its own line, its description and its options; what all share is left to OPTIONS.
fn commands(command: &clap::Command) -> String {
    let shared: Vec<&clap::Id> = command.get_arguments().map(clap::Arg::get_id).collect();
    let mut out = String::new();
    for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        one_command(subcommand, "renewd", &shared, &mut out);
    }
    out
}

/// A command below others, or in the place of a group those that it has.
fn one_command(command: &clap::Command, above: &str, shared: &[&clap::Id], out: &mut String) {
    let name = format!("{above} {}", command.get_name());
    if command.has_subcommands() {
        let shared_below: Vec<_> = command
            .get_arguments()
            .filter(|argument| argument.is_global_set())
            .collect();
        if !shared_below.is_empty() {
            let about = command.get_about().expect("a group says what it is");
            out.push_str(&format!(
                ".SS \"{name} COMMAND\"\n{}. Every command below it takes these options too.\n",
                markdown::inline(&about.to_string())
            ));
            for argument in shared_below {
                out.push_str(&option(argument));
            }
        }
        for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            one_command(below, &name, shared, out);
        }
        return;
    }
    let positional: String = command
        .get_positionals()
        .map(|argument| format!(" {}", value_name(argument)))
        .collect();
    let about = command.get_long_about().or(command.get_about());
    let about = about.expect("a command says what it does").to_string();
    out.push_str(&format!(
        ".SS \"{name}{positional}\"\n{}.\n",
        markdown::inline(&about)
    ));
    let own = command
        .get_arguments()
        .filter(|argument| !argument.is_positional() && !shared.contains(&argument.get_id()));
    for argument in own {
        out.push_str(&option(argument));
    }
}

fn option(argument: &clap::Arg) -> String {
    let long = argument.get_long().expect("an option has a long form");
    let help = argument.get_help().expect("an option says what it does");
    let mut line = format!(".TP\n\\fB\\-\\-{}\\fR", long.replace('-', "\\-"));
    if argument.get_action().takes_values() {
        line.push_str(&format!(" \\fI{}\\fR", value_name(argument)));
    }
    line.push_str(&format!("\n{}", markdown::inline(&help.to_string())));
    let words = argument.get_possible_values();
    if argument.get_action().takes_values() && !words.is_empty() {
        let words: Vec<&str> = words.iter().map(|word| word.get_name()).collect();
        line.push_str(&format!(": {}", markdown::inline(&words.join(", "))));
    }
    let default: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if argument.get_action().takes_values() && !default.is_empty() {
        line.push_str(&format!(" [default: {}]", default.join(" ")));
    }
    line.push_str(".\n");
    line
}

fn value_name(argument: &clap::Arg) -> String {
    match argument.get_value_names() {
        Some(names) => names.join(" "),
        None => argument.get_id().to_string().to_uppercase(),
    }
}

/// One section as clap_mangen writes it, without the preamble and the heading.
fn section(
    command: &clap::Command,
    write: impl Fn(&clap_mangen::Man, &mut dyn std::io::Write) -> std::io::Result<()>,
) -> String {
    let mut out = Vec::new();
    write(&clap_mangen::Man::new(command.clone()), &mut out).expect("memory can be written");
    let text = String::from_utf8(out).expect("a manual page is text");
    let body = text.split_once(".SH ").map_or("", |(_, section)| section);
    body.split_once('\n')
        .map_or("", |(_, body)| body)
        .to_owned()
}

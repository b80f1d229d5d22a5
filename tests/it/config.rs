//! Policies in files: what is accepted, and how everything else is told.
//!
//! `tests/fixtures/config/bad/NAME.toml` (or a directory `NAME/` with `renewd.toml` and `policy.d/`) is loaded and what is
//! printed is compared with `NAME.txt`; `UPDATE_GOLDEN=1 cargo test --test it config::` writes those files anew.
#![expect(
    clippy::disallowed_methods,
    reason = "tests arrange files and processes directly"
)]

mod strain;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use renewd::config::{self, Code, Diagnostics, Loaded};

fn fixtures(kind: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    root.join(kind)
}

/// A directory as `/etc/renewd` would be, whatever owner and mode the files of the checkout have.
pub(crate) struct Etc(tempfile::TempDir);

impl Etc {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("renewd.toml")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.mode(name, 0o644);
    }

    pub(crate) fn load(&self) -> Result<Loaded, Diagnostics> {
        config::load(&self.file())
    }

    /// As an administrator would see it.
    pub(crate) fn shown(&self, diagnostics: &Diagnostics) -> String {
        let here = self.0.path().to_str().unwrap();
        diagnostics.render(false).replace(here, "/etc/renewd")
    }
}

/// From a fixture: one file, or a directory.
fn arrange(fixture: &Path) -> Etc {
    let etc = Etc::new();
    if fixture.is_file() {
        etc.write("renewd.toml", fs::read(fixture).unwrap());
        return etc;
    }
    etc.write(
        "renewd.toml",
        fs::read(fixture.join("renewd.toml")).unwrap(),
    );
    for entry in fs::read_dir(fixture.join("policy.d")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        etc.write(&format!("policy.d/{name}"), fs::read(&path).unwrap());
    }
    etc
}

/// All fixtures of a kind with the path of their golden file.
fn each(kind: &str) -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir(fixtures(kind)).unwrap();
    let mut found: Vec<(PathBuf, PathBuf)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|e| e == "toml"))
        .map(|path| (path.clone(), path.with_extension("txt")))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no fixtures in {kind}");
    found
}

fn compare(golden: &Path, shown: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, shown).unwrap();
        return Ok(());
    }
    let wanted = fs::read_to_string(golden).unwrap_or_default();
    if wanted == shown {
        return Ok(());
    }
    Err(format!(
        "{} differs:\n--- wanted\n{wanted}\n--- shown\n{shown}",
        golden.display()
    ))
}

fn check(results: Vec<Result<(), String>>) {
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn every_bad_policy_is_refused_in_the_words_of_its_golden_file() {
    let results = each("bad").into_iter().map(|(fixture, golden)| {
        let etc = arrange(&fixture);
        match etc.load() {
            Ok(_) => Err(format!("{} was accepted", fixture.display())),
            Err(diagnostics) => {
                assert_eq!(diagnostics.exit_code(), 78);
                compare(&golden, &etc.shown(&diagnostics))
            }
        }
    });
    check(results.collect());
}

#[test]
fn every_good_policy_is_accepted_with_the_warnings_of_its_golden_file() {
    let results = each("good").into_iter().map(|(fixture, golden)| {
        let etc = arrange(&fixture);
        match etc.load() {
            Ok(loaded) if loaded.warnings.is_empty() && !golden.exists() => Ok(()),
            Ok(loaded) => {
                assert_eq!(loaded.warnings.exit_code(), 0);
                compare(&golden, &etc.shown(&loaded.warnings))
            }
            Err(problems) => Err(etc.shown(&problems)),
        }
    });
    check(results.collect());
}

#[test]
fn no_golden_file_is_left_without_a_fixture() {
    for kind in ["bad", "good"] {
        for entry in fs::read_dir(fixtures(kind)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "txt") {
                let fixture =
                    path.with_extension("toml").exists() || path.with_extension("").is_dir();
                assert!(fixture, "{}", path.display());
            }
        }
    }
}

#[test]
fn every_code_is_shown_by_a_fixture() {
    let mut seen = BTreeSet::new();
    for (fixture, _) in each("bad").into_iter().chain(each("good")) {
        let diagnostics = match arrange(&fixture).load() {
            Ok(loaded) => loaded.warnings,
            Err(diagnostics) => diagnostics,
        };
        seen.extend(diagnostics.iter().map(|problem| problem.code));
    }
    // These are about files and have tests of their own below.
    let files = [
        Code::Unreadable,
        Code::TooLarge,
        Code::NotText,
        Code::Permissions,
    ];
    let missing: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| !seen.contains(code) && !files.contains(code))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_secret_is_printed_or_kept_for_debugging() {
    for name in [
        "secrets",
        "syntax",
        "unknown-keys",
        "wrong-types",
        "several-files",
        "issuers",
    ] {
        let path = fixtures("bad").join(name);
        let path = if path.is_dir() {
            path
        } else {
            path.with_extension("toml")
        };
        let etc = arrange(&path);
        let diagnostics = etc.load().unwrap_err();
        for shown in [
            diagnostics.render(false),
            diagnostics.render(true),
            diagnostics.to_string(),
        ] {
            assert!(!shown.contains("HUNTER2"), "{name}:\n{shown}");
        }
        assert!(
            !diagnostics
                .iter()
                .any(|p| format!("{p:?}").contains("HUNTER2"))
        );
        assert!(!format!("{diagnostics:?}").contains("HUNTER2"), "{name}");
    }
}

/// The files of a directory that cannot be used one way or the other, and the words for it.
fn refused(etc: &Etc, code: Code) -> String {
    let diagnostics = etc.load().unwrap_err();
    let codes: Vec<Code> = diagnostics.iter().map(|problem| problem.code).collect();
    assert!(codes.contains(&code), "{codes:?}");
    etc.shown(&diagnostics)
}

#[test]
fn a_missing_policy_is_told_with_the_option_that_helps() {
    let shown = refused(&Etc::new(), Code::Unreadable);
    assert!(
        shown.contains("cannot read /etc/renewd/renewd.toml: No such file"),
        "{shown}"
    );
    assert!(shown.contains("--config FILE"), "{shown}");
}

#[test]
fn a_directory_or_a_pipe_in_the_place_of_a_file_is_refused_and_never_waited_for() {
    let etc = Etc::new();
    fs::create_dir(etc.file()).unwrap();
    assert!(refused(&etc, Code::Unreadable).contains("no regular file"));
    let etc = Etc::new();
    etc.write("renewd.toml", "");
    etc.write("policy.d/10-x.toml", "");
    let pipe = etc.path("policy.d/20-pipe.toml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused(&etc, Code::Unreadable).contains("20-pipe.toml"));
}

#[test]
fn a_file_that_is_not_text_is_told_with_its_line() {
    let etc = Etc::new();
    etc.write("renewd.toml", b"# a\n# b\nx = \"\xff\"\n");
    etc.write("policy.d/10-x.toml", "unknown = 1\n");
    let shown = refused(&etc, Code::NotText);
    assert!(shown.contains("not UTF-8 in line 3"), "{shown}");
    assert!(
        shown.contains("unknown key"),
        "the other file is looked through: {shown}"
    );
}

#[test]
fn a_huge_file_is_refused_unread() {
    let etc = Etc::new();
    etc.write("renewd.toml", "");
    let file = fs::File::options().write(true).open(etc.file()).unwrap();
    file.set_len(33 * 1024 * 1024).unwrap();
    assert!(refused(&etc, Code::TooLarge).contains("a file may have 32 MiB"));
}

#[test]
fn many_large_files_are_read_up_to_a_limit_of_all_together() {
    let etc = Etc::new();
    etc.write("renewd.toml", "");
    let comment = format!("#{}\n", "x".repeat(30 * 1024 * 1024));
    for n in 0..5 {
        etc.write(&format!("policy.d/{n}.toml"), &comment);
    }
    let shown = refused(&etc, Code::TooLarge);
    assert!(shown.contains("policy.d/4.toml is too large"), "{shown}");
    assert!(shown.contains("1 error in 1 file"), "{shown}");
}

#[test]
fn a_policy_that_everybody_may_change_is_refused() {
    let etc = Etc::new();
    etc.write("renewd.toml", "");
    etc.write("policy.d/10-x.toml", "");
    etc.mode("policy.d/10-x.toml", 0o666);
    let shown = refused(&etc, Code::Permissions);
    assert!(
        shown.contains("run: chmod o-w /etc/renewd/policy.d/10-x.toml"),
        "{shown}"
    );
    etc.mode("policy.d/10-x.toml", 0o664);
    etc.load().unwrap();
    etc.mode("policy.d", 0o777);
    let shown = refused(&etc, Code::Permissions);
    assert!(shown.contains("may add files"), "{shown}");
}

#[test]
fn drop_ins_are_read_in_the_order_of_their_names_and_others_passed_over() {
    let etc = Etc::new();
    etc.write("renewd.toml", "state_dir = \"/srv/0\"\n");
    etc.write("policy.d/9-late.toml", "state_dir = \"/srv/9\"\n");
    etc.write("policy.d/10-early.toml", "state_dir = \"/srv/10\"\n");
    for other in [
        ".hidden.toml",
        ".#10-early.toml",
        "note.txt",
        "old.toml~",
        "x.toml.dpkg-old",
    ] {
        etc.write(&format!("policy.d/{other}"), "this is = not = toml");
    }
    fs::create_dir(etc.path("policy.d/directory.toml")).unwrap();
    let loaded = etc.load().unwrap();
    assert_eq!(loaded.policy.state_dir, Path::new("/srv/9"));
    let names: Vec<&str> = loaded
        .files
        .iter()
        .map(|f| f.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["renewd.toml", "10-early.toml", "9-late.toml"]);
}

#[test]
fn a_broken_file_hides_nothing_of_the_others_and_invents_nothing() {
    let etc = Etc::new();
    etc.write(
        "renewd.toml",
        fs::read(fixtures("good").join("minimal.toml")).unwrap(),
    );
    etc.write(
        "policy.d/10-broken.toml",
        "[issuer.pca.lab]\nendpoint = \"https://x.example\nca = \"x\"\n",
    );
    etc.write(
        "policy.d/20-web.toml",
        "[certificate.lab]\nissuer = \"lab\"\nnames = [\"x..y\"]\n",
    );
    let diagnostics = etc.load().unwrap_err();
    let found: Vec<(Code, usize)> = diagnostics
        .iter()
        .map(|problem| (problem.code, problem.position.unwrap().0))
        .collect();
    // Not: that the issuer is unknown, or that its credentials are missing.
    assert_eq!(found, [(Code::Syntax, 2), (Code::BadName, 3)]);
}

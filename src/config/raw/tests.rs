//! The list of keys is held against the secrets, the recipes and TOML itself.

use super::*;
use crate::model::{Family, TargetKind};
use std::collections::BTreeSet;

fn visit(table: &'static Table, found: &mut BTreeSet<&'static str>) {
    for key in table.keys() {
        match &key.holds {
            Holds::Secret => {
                found.insert(key.name);
            }
            Holds::Table(inner) | Holds::Tables(inner) => visit(inner, found),
            _ => {}
        }
    }
}

#[test]
fn the_names_of_secrets_are_all_listed() {
    let mut found = BTreeSet::new();
    visit(&ROOT, &mut found);
    assert_eq!(found, secret_names().into_iter().collect());
}

#[test]
fn the_defaults_of_servers_are_those_of_their_recipes() {
    fn default_of(table: &'static Table, name: &str) -> Option<toml::Value> {
        let Need::Default(text) = table.key(name)?.need else {
            return None;
        };
        format!("x = {text}")
            .parse::<toml::Table>()
            .unwrap()
            .remove("x")
    }
    let mut seen = 0;
    for kind in TargetKind::ALL {
        let recipe = kind.recipe(Family::Debian);
        let Holds::Tables(table) = TARGET.key(recipe.word).unwrap().holds else {
            panic!("{} is no kind of target", recipe.word);
        };
        let text = |value: &str| toml::Value::from(value);
        let argv = |words: &[&str]| toml::Value::from(words.to_vec());
        for (key, wanted) in [
            ("test", recipe.test.map(argv)),
            ("reload", recipe.reload.map(argv)),
            ("pid_file", recipe.pid_file.map(text)),
            ("connect", recipe.listener.map(text)),
            ("group", recipe.group.map(text)),
            ("reader", recipe.reader.map(text)),
            ("admin_socket", recipe.admin_socket.map(text)),
            ("manager", recipe.manager.map(|(url, _)| text(url))),
            ("manager_path", recipe.manager.map(|(_, path)| text(path))),
            ("probe", recipe.probed.then(|| text("tls"))),
            ("key_mode", Some(text(&format!("{:04o}", recipe.key_mode)))),
        ] {
            assert_eq!(default_of(table, key), wanted, "{} {key}", recipe.word);
            seen += 1;
        }
    }
    assert!(seen > 20);
}

#[test]
fn every_default_is_toml() {
    fn all(table: &'static Table) {
        for key in table.keys() {
            if let Need::Default(value) = key.need {
                let text = format!("{} = {value}\n", key.name);
                assert!(text.parse::<toml::Table>().is_ok(), "{text}");
            }
            if let Holds::Table(inner) | Holds::Tables(inner) = key.holds {
                all(inner);
            }
        }
    }
    all(&ROOT);
}

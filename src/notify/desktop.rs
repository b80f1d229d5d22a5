//! Alerts on a desktop: what is shown when, so that nobody is flooded, and the showing itself.
//!
//! [`Board`] decides and knows no clock; [`show`] speaks with the notification service of the session's bus.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use notify_rust::{Notification, Timeout, Urgency};

use crate::model::Severity;

/// An alert or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What it is about; a later card of the same key takes its place.
    pub key: String,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What happened and what to do.
    pub text: String,
}

/// What goes onto the desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popup {
    /// Keys of the cards in it; several were merged.
    pub keys: Vec<String>,
    /// How bad the worst is; `None` for what is over.
    pub severity: Option<Severity>,
    /// One line.
    pub summary: String,
    /// The rest.
    pub body: String,
    /// The number of the popup whose place it takes.
    pub replaces: Option<u32>,
}

/// What is known of alerts and popups. Moments are durations since some beginning.
#[derive(Debug, Default)]
pub struct Board {
    host: String,
    /// Not shown yet, in the order in which they came; `None` for the end of an alert.
    waiting: Vec<(Card, bool)>,
    /// Since when something waits.
    since: Option<Duration>,
    /// What stands on the desktop, and the number of its popup.
    shown: BTreeMap<String, (Card, Option<u32>)>,
    /// When the last popups were.
    spent: VecDeque<Duration>,
}

impl Board {
    /// Nothing was shown.
    #[must_use]
    pub fn new(host: String) -> Self {
        Self {
            host,
            ..Self::default()
        }
    }

    /// An alert stands.
    pub fn raise(&mut self, card: Card, now: Duration) {
        if self
            .shown
            .get(&card.key)
            .is_some_and(|(shown, _)| *shown == card)
        {
            // As after a new start of the daemon; what waited to take its place is no longer so.
            self.waiting.retain(|(waiting, _)| waiting.key != card.key);
            return;
        }
        self.put(card, true, now);
    }

    /// An alert is over.
    pub fn resolve(&mut self, key: &str, now: Duration) {
        match self.shown.get(key) {
            Some((card, _)) => {
                let card = card.clone();
                self.put(card, false, now);
            }
            // Nobody saw it, so nobody need know.
            None => self.waiting.retain(|(waiting, _)| waiting.key != key),
        }
    }

    /// Exactly these stand: what is shown and not among them is over.
    pub fn standing(&mut self, cards: Vec<Card>, now: Duration) {
        let shown: Vec<String> = self.shown.keys().cloned().collect();
        for key in shown {
            if !cards.iter().any(|card| card.key == key) {
                self.resolve(&key, now);
            }
        }
        self.waiting.retain(|(waiting, stands)| {
            !stands || cards.iter().any(|card| card.key == waiting.key)
        });
        for card in cards {
            self.raise(card, now);
        }
    }

    fn put(&mut self, card: Card, stands: bool, now: Duration) {
        self.waiting.retain(|(waiting, _)| waiting.key != card.key);
        if self.waiting.len() == MOST_WAITING {
            // The count in a merged popup is smaller then; the worst is kept.
            let mildest = self.waiting.iter().enumerate();
            let mildest = mildest.min_by_key(|(_, (card, stands))| (*stands, card.severity));
            if let Some((at, _)) = mildest {
                self.waiting.remove(at);
            }
        }
        self.waiting.push((card, stands));
        self.since.get_or_insert(now);
    }

    /// When something is to be shown; `None` for nothing.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        let merged = self.since? + PAUSE;
        let allowed = if self.spent.len() < MOST_PER_MINUTE {
            merged
        } else {
            self.spent.front().map_or(merged, |first| *first + MINUTE)
        };
        Some(merged.max(allowed))
    }

    /// What is to be shown now: each by itself while there are few, else all in one.
    pub fn take(&mut self, now: Duration) -> Vec<Popup> {
        if self.due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        while self
            .spent
            .front()
            .is_some_and(|first| *first + MINUTE <= now)
        {
            self.spent.pop_front();
        }
        let cards = std::mem::take(&mut self.waiting);
        self.since = None;
        let room = MOST_PER_MINUTE - self.spent.len().min(MOST_PER_MINUTE);
        let popups = if cards.len() <= room.min(MOST_SINGLE) {
            cards.iter().map(|card| self.single(card)).collect()
        } else {
            vec![self.merged(&cards)]
        };
        for (card, stands) in cards {
            if stands {
                let number = self.shown.get(&card.key).and_then(|(_, number)| *number);
                self.shown.insert(card.key.clone(), (card, number));
            } else {
                self.shown.remove(&card.key);
            }
        }
        self.spent.extend(popups.iter().map(|_| now));
        popups
    }

    /// The service gave a popup this number.
    pub fn number(&mut self, popup: &Popup, number: u32) {
        // One of several cards is no place for a later one of them.
        let [key] = popup.keys.as_slice() else {
            return;
        };
        if let Some((_, known)) = self.shown.get_mut(key) {
            *known = Some(number);
        }
    }

    /// It could not be shown: it waits again, unless something newer does.
    pub fn put_back(&mut self, popup: &Popup, now: Duration) {
        for key in &popup.keys {
            if self.waiting.iter().any(|(waiting, _)| waiting.key == *key) {
                continue;
            }
            // What is over was seen by nobody, or is seen no more.
            if let Some((card, _)) = self.shown.remove(key) {
                self.put(card, true, now);
            }
        }
    }

    fn single(&self, (card, stands): &(Card, bool)) -> Popup {
        let (severity, summary, body) = if *stands {
            (Some(card.severity), card.title.clone(), card.text.clone())
        } else {
            let body = "It is over.".to_owned();
            (None, format!("Resolved: {}", card.title), body)
        };
        Popup {
            keys: vec![card.key.clone()],
            severity,
            summary: format!("{}: {summary}", self.host),
            body,
            replaces: self.shown.get(&card.key).and_then(|(_, number)| *number),
        }
    }

    fn merged(&self, cards: &[(Card, bool)]) -> Popup {
        let standing = cards.iter().filter(|(_, stands)| *stands);
        let raised = standing.clone().count();
        let over = cards.len() - raised;
        let mut parts = Vec::new();
        if raised > 0 {
            parts.push(format!(
                "{raised} alert{}",
                if raised == 1 { "" } else { "s" }
            ));
        }
        if over > 0 {
            parts.push(format!("{over} resolved"));
        }
        let mut lines: Vec<String> = Vec::new();
        let mut sorted: Vec<_> = cards.iter().collect();
        // The worst first; what is over last.
        sorted.sort_by_key(|(card, stands)| std::cmp::Reverse((*stands, card.severity)));
        for (card, stands) in sorted.iter().take(MOST_LINES) {
            let over = if *stands { "" } else { "Resolved: " };
            lines.push(format!("{over}{}", card.title));
        }
        if cards.len() > MOST_LINES {
            lines.push(format!(
                "and {} more; see renewd status",
                cards.len() - MOST_LINES
            ));
        }
        Popup {
            keys: cards.iter().map(|(card, _)| card.key.clone()).collect(),
            severity: standing.map(|(card, _)| card.severity).max(),
            summary: format!("{}: {}", self.host, parts.join(", ")),
            body: lines.join("\n"),
            replaces: None,
        }
    }
}

/// Shows it on the desktop of this user's session; answers the number that it has there.
///
/// # Errors
/// When there is no session bus, or nothing on it that shows notifications.
pub async fn show(popup: &Popup) -> Result<u32, notify_rust::error::Error> {
    let mut notification = Notification::new();
    notification
        .appname("renewd")
        .icon(match popup.severity {
            Some(Severity::Critical) => "dialog-error",
            Some(Severity::Warning) => "dialog-warning",
            Some(Severity::Notice) | None => "dialog-information",
        })
        .summary(&popup.summary)
        .body(&escaped(&popup.body))
        .urgency(match popup.severity {
            Some(Severity::Critical) => Urgency::Critical,
            Some(Severity::Warning) => Urgency::Normal,
            Some(Severity::Notice) | None => Urgency::Low,
        })
        .timeout(match popup.severity {
            // Until somebody has seen it.
            Some(Severity::Critical) => Timeout::Never,
            Some(Severity::Warning | Severity::Notice) | None => Timeout::Default,
        });
    if let Some(number) = popup.replaces {
        notification.id(number);
    }
    // Not `show`, which would block the runtime that carries the connection.
    let handle = notification.show_async().await?;
    Ok(handle.id())
}

/// The body is markup for many services, and ours is text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What comes within it goes together.
const PAUSE: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
/// Popups in one minute.
const MOST_PER_MINUTE: usize = 4;
/// More at once are one.
const MOST_SINGLE: usize = 3;
/// Titles in one that was merged.
const MOST_LINES: usize = 6;
/// Cards that are kept for later.
const MOST_WAITING: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn card(key: &str, severity: Severity) -> Card {
        Card {
            key: key.to_owned(),
            severity,
            title: format!("title of {key}"),
            text: format!("text of {key}"),
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn board() -> Board {
        Board::new("web1".to_owned())
    }

    #[test]
    fn an_alert_its_change_and_its_end_take_one_place() {
        let mut board = board();
        board.raise(card("a", Severity::Warning), at(0));
        assert_eq!(board.take(at(1)), [], "more may come");
        let popups = board.take(at(2));
        assert_eq!(popups.len(), 1);
        assert_eq!(popups[0].summary, "web1: title of a");
        assert_eq!(
            (popups[0].severity, popups[0].replaces),
            (Some(Severity::Warning), None)
        );
        board.number(&popups[0], 7);

        // The same again is nothing new.
        board.raise(card("a", Severity::Warning), at(10));
        assert_eq!(board.due(), None);
        board.raise(card("a", Severity::Critical), at(20));
        let popups = board.take(at(22));
        assert_eq!(
            (popups[0].severity, popups[0].replaces),
            (Some(Severity::Critical), Some(7))
        );
        board.number(&popups[0], 7);
        board.resolve("a", at(30));
        let popups = board.take(at(32));
        assert_eq!(popups[0].summary, "web1: Resolved: title of a");
        assert_eq!((popups[0].severity, popups[0].replaces), (None, Some(7)));
        board.resolve("a", at(40));
        assert_eq!(board.due(), None);
    }

    #[test]
    fn what_is_over_before_it_was_shown_is_never_shown() {
        let mut board = board();
        board.raise(card("a", Severity::Warning), at(0));
        board.resolve("a", at(1));
        assert_eq!(board.due(), None);
        assert_eq!(board.take(at(9)), []);
    }

    #[test]
    fn many_are_one_with_the_worst_first() {
        let mut board = board();
        for number in 0..50 {
            board.raise(card(&number.to_string(), Severity::Warning), at(0));
        }
        board.raise(card("bad", Severity::Critical), at(1));
        let popups = board.take(at(2));
        assert_eq!(popups.len(), 1);
        assert_eq!(popups[0].summary, "web1: 51 alerts");
        assert_eq!(popups[0].severity, Some(Severity::Critical));
        assert!(
            popups[0].body.starts_with("title of bad\n"),
            "{}",
            popups[0].body
        );
        assert!(popups[0].body.ends_with("and 45 more; see renewd status"));
    }

    #[test]
    fn there_are_never_more_than_a_few_in_a_minute_and_none_is_lost() {
        let mut board = board();
        let mut shown = Vec::new();
        for second in 0..600 {
            board.raise(card(&second.to_string(), Severity::Warning), at(second));
            shown.extend(
                board
                    .take(at(second))
                    .into_iter()
                    .map(|popup| (second, popup)),
            );
        }
        let last = board.due().expect("the last ones wait").as_secs();
        shown.extend(board.take(at(last)).into_iter().map(|popup| (last, popup)));
        for from in 0..600 {
            let within = shown
                .iter()
                .filter(|(when, _)| (from..from + 60).contains(when));
            assert!(within.count() <= MOST_PER_MINUTE, "after {from}");
        }
        let keys: usize = shown.iter().map(|(_, popup)| popup.keys.len()).sum();
        assert_eq!(keys, 600);
    }

    #[test]
    fn after_a_gap_only_what_changed_is_shown() {
        let mut board = board();
        board.raise(card("a", Severity::Warning), at(0));
        board.raise(card("b", Severity::Warning), at(0));
        board.take(at(2));
        board.standing(
            vec![card("b", Severity::Warning), card("c", Severity::Notice)],
            at(100),
        );
        let popups = board.take(at(102));
        let keys: Vec<_> = popups.iter().flat_map(|popup| &popup.keys).collect();
        assert_eq!(keys, ["a", "c"]);
        assert_eq!(popups[0].severity, None, "a is over");
    }

    #[test]
    fn what_could_not_be_shown_is_shown_later() {
        let mut board = board();
        board.raise(card("a", Severity::Warning), at(0));
        let popups = board.take(at(2));
        board.put_back(&popups[0], at(3));
        assert_eq!(board.take(at(70))[0].keys, ["a"]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut board = board();
        board.raise(card("bad", Severity::Critical), at(0));
        for number in 0..3000 {
            board.raise(card(&number.to_string(), Severity::Notice), at(0));
        }
        assert_eq!(board.waiting.len(), MOST_WAITING);
        assert_eq!(board.take(at(2))[0].severity, Some(Severity::Critical));
    }
}

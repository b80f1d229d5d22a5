//! Letters through days of random alarms, to a server that is at times away.

use proptest::prelude::*;

use super::*;

const T: Timestamp = Timestamp(1_900_000_000);
const PACE: Pace = Pace {
    gather: Seconds::minutes(10),
    per_day: 6,
};

fn slip(seq: i64, name: &str, occasion: Occasion, severity: Severity, at: Timestamp) -> Slip {
    Slip {
        seq,
        thread: (name.to_owned(), T),
        occasion,
        severity,
        queued_at: at,
        due_at: at,
        attempts: 0,
        stands: true,
        begun: false,
        held: Held::No,
        alone: false,
        refused: false,
        mail: None,
    }
}

fn raised(seq: i64, name: &str, at: Timestamp) -> Slip {
    slip(seq, name, Occasion::Raised(0), Severity::Warning, at)
}

#[test]
fn the_first_leaves_at_once_and_those_that_follow_soon_leave_together() {
    let first = raised(1, "a", T);
    assert_eq!(sort(&[first], &[], Some(PACE), None, T).mails, [[1]]);
    let at = T + Seconds(60);
    let next = [raised(2, "b", at), raised(3, "c", at)];
    let sorting = sort(&next, &[T], Some(PACE), None, at);
    let until = T + Seconds(600);
    assert_eq!(sorting.mails, Vec::<Vec<i64>>::new());
    assert_eq!(
        sorting.held,
        [(2, Held::Gather, until), (3, Held::Gather, until)]
    );
    let mut held = next.clone();
    held.iter_mut().for_each(|slip| slip.due_at = until);
    assert_eq!(sort(&held, &[T], Some(PACE), None, until).mails, [[2, 3]]);
    // The second mail of a day makes the third wait twice as long.
    let fourth = [raised(4, "d", until)];
    let sorting = sort(&fourth, &[T, until], Some(PACE), None, until);
    assert_eq!(sorting.held, [(4, Held::Gather, until + Seconds(1200))]);
    // A program that is called is called for each.
    assert_eq!(sort(&next, &[T], None, None, at).mails, [[2], [3]]);
}

#[test]
fn what_was_refused_holds_nothing_back_and_is_tried_by_itself() {
    let refused = |seq: i64, name: &str, due_at: Timestamp| {
        let mut slip = raised(seq, name, T);
        (slip.refused, slip.attempts, slip.due_at) = (true, 3, due_at);
        slip
    };
    let at = T + Seconds::hours(2);
    let all = [
        refused(1, "a", at),
        refused(2, "b", at),
        refused(3, "c", at + Seconds(1)),
        raised(4, "d", at),
        raised(5, "e", at),
    ];
    assert_eq!(
        sort(&all, &[], Some(PACE), None, at).mails,
        [vec![4, 5], vec![1], vec![2]]
    );
    // Where nothing else may leave, and for a program that is called.
    let sorting = sort(&all, &[at], Some(PACE), None, at);
    assert_eq!(
        (sorting.mails, sorting.held.len()),
        (vec![vec![1], vec![2]], 2)
    );
    assert_eq!(sort(&all, &[], None, None, at).mails, [[4], [5], [1], [2]]);
}

#[test]
fn what_is_critical_waits_for_nothing_and_takes_along_what_does() {
    let at = T + Seconds(60);
    let mut held = raised(1, "a", T);
    held.due_at = at + Seconds(500);
    held.held = Held::Budget;
    let mut quiet = raised(2, "b", T);
    quiet.due_at = at + Seconds::hours(5);
    let bad = slip(3, "c", Occasion::Raised(0), Severity::Critical, at);
    let sorting = sort(&[held, quiet, bad], &[T; 6], Some(PACE), None, at);
    assert_eq!(sorting.mails, [[1, 3]], "quiet hours are kept");
}

#[test]
fn what_is_over_at_once_is_told_after_the_quiet_hours_in_one_mail() {
    let morning = T + Seconds::hours(6);
    let mut down = raised(1, "agent-was-down/host", T);
    let mut back = slip(
        2,
        "agent-was-down/host",
        Occasion::Over,
        Severity::Warning,
        T,
    );
    (down.due_at, back.due_at) = (morning, morning);
    let both = [down, back];
    let sorting = sort(&both, &[], Some(PACE), None, T);
    assert_eq!((sorting.mails, sorting.spared), (vec![], vec![]));
    let sorting = sort(&both, &[], Some(PACE), None, morning);
    assert_eq!((sorting.mails, sorting.spared), (vec![vec![1, 2]], vec![]));
    // A program is called for each, in their order.
    let sorting = sort(&both, &[], None, None, morning);
    assert_eq!(
        (sorting.mails, sorting.spared),
        (vec![vec![1], vec![2]], vec![])
    );
    // What may have been taken over already is told before its end.
    let mut sealed = both;
    sealed[0].mail = Some("<a@b>".to_owned());
    let sorting = sort(&sealed, &[], Some(PACE), None, morning);
    assert_eq!(sorting.mails, [[1]]);
}

#[test]
fn an_end_is_told_after_its_beginning_and_not_at_all_where_that_was_not() {
    let later = T + Seconds(60);
    let over = slip(2, "a", Occasion::Over, Severity::Warning, later);
    let both = [raised(1, "a", T), over.clone()];
    // It was due, and the process did not run: both are told, in this order.
    let sorting = sort(&both, &[], Some(PACE), None, later);
    assert_eq!((sorting.mails, sorting.held.len()), (vec![vec![1]], 1));
    let sorting = sort(&both, &[], None, None, later);
    assert_eq!(sorting.mails, [[1], [2]]);
    // It waited for its time, and that is not needed any more.
    let mut waiting = both.clone();
    waiting[0].due_at = T + Seconds(600);
    let sorting = sort(&waiting, &[T], Some(PACE), None, later);
    assert_eq!((sorting.mails, sorting.spared), (vec![], vec![1, 2]));
    // Something of it was told before.
    waiting[1].begun = true;
    let sorting = sort(&waiting, &[], Some(PACE), None, later);
    assert_eq!((sorting.mails, sorting.spared), (vec![vec![2]], vec![1]));
}

#[test]
fn what_is_held_back_into_quiet_hours_waits_for_their_end() {
    let at = Timestamp::parse("2030-01-01T21:55:00Z").unwrap();
    let night = Quiet {
        from: 22 * 60,
        until: 7 * 60,
        zone: jiff::tz::TimeZone::UTC,
    };
    let sorting = sort(&[raised(1, "a", at)], &[at], Some(PACE), Some(&night), at);
    let morning = Timestamp::parse("2030-01-02T07:00:00Z").unwrap();
    assert_eq!(sorting.held, [(1, Held::Gather, morning)]);
    let bad = slip(1, "a", Occasion::Raised(0), Severity::Critical, at);
    let sorting = sort(&[bad], &[at], Some(PACE), Some(&night), at);
    assert_eq!(sorting.mails, [[1]]);
}

#[test]
fn a_digest_has_its_time_and_takes_along_what_waits() {
    let mut held = raised(1, "a", T);
    held.due_at = T + Seconds(600);
    held.held = Held::Budget;
    let digest = slip(2, "digest", Occasion::Digest, Severity::Notice, T);
    let sent = [T - Seconds(1); 20];
    let sorting = sort(&[held, digest], &sent, Some(PACE), None, T);
    assert_eq!(sorting.mails, [[1, 2]]);
}

#[test]
fn what_may_have_been_taken_over_is_sent_again_as_it_was() {
    let mut sealed = [raised(1, "a", T), raised(2, "b", T)];
    sealed
        .iter_mut()
        .for_each(|slip| slip.mail = Some("<m@x>".to_owned()));
    let mut waiting = sealed.to_vec();
    waiting.push(raised(3, "c", T));
    let sorting = sort(&waiting, &[], Some(PACE), None, T);
    assert_eq!(sorting.mails, [[1, 2]]);
    assert_eq!(sorting.held.len(), 1, "the other one is gathered");
    waiting[1].due_at = T + Seconds(1);
    let sorting = sort(&waiting, &[], Some(PACE), None, T);
    assert_eq!(
        (sorting.mails, sorting.held.len()),
        (vec![], 1),
        "it counts as a mail"
    );
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let ahead = T + Seconds::days(90);
    let now = [raised(1, "a", T)];
    assert_eq!(sort(&now, &[ahead; 20], Some(PACE), None, T).mails, [[1]]);
}

/// A thing that happens in a simulated day.
#[derive(Debug, Clone)]
enum Event {
    Raise(usize, bool),
    Worse(usize),
    Over(usize),
    /// What the server does from now on.
    Server(Server),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Server {
    Takes,
    Away,
    /// It takes a mail, and breaks the connection before it says so.
    Lies,
    RefusesSeveral,
}

fn event() -> impl Strategy<Value = Event> {
    let key = 0..12_usize;
    prop_oneof![
        6 => (key.clone(), prop::bool::weighted(0.1)).prop_map(|(key, bad)| Event::Raise(key, bad)),
        2 => key.clone().prop_map(Event::Worse),
        5 => key.prop_map(Event::Over),
        1 => prop_oneof![
            3 => Just(Server::Takes),
            1 => Just(Server::Away),
            1 => Just(Server::Lies),
            1 => Just(Server::RefusesSeveral),
        ].prop_map(Event::Server),
    ]
}

/// What left.
#[derive(Debug)]
struct Left {
    at: Timestamp,
    id: String,
    letters: Vec<Slip>,
    /// Whether the server said so.
    known: bool,
}

/// The outbox of one recipient, as the journal keeps it.
#[derive(Default)]
struct World {
    now: Timestamp,
    seq: i64,
    waiting: Vec<Slip>,
    spared: Vec<Slip>,
    left: Vec<Left>,
    /// Number of the thread and step of what stands.
    standing: BTreeMap<usize, (String, u32, Severity)>,
    threads: u32,
}

impl World {
    fn queue(&mut self, thread: &str, occasion: Occasion, severity: Severity) {
        self.seq += 1;
        let mut slip = slip(self.seq, thread, occasion, severity, self.now);
        let told = |one: &Slip| one.thread == slip.thread;
        slip.begun = self.left.iter().flat_map(|left| &left.letters).any(told);
        self.waiting.push(slip);
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Raise(key, bad) if !self.standing.contains_key(key) => {
                self.threads += 1;
                let thread = format!("{key}.{}", self.threads);
                let severity = if *bad {
                    Severity::Critical
                } else {
                    Severity::Warning
                };
                self.queue(&thread, Occasion::Raised(0), severity);
                self.standing.insert(*key, (thread, 0, severity));
            }
            Event::Worse(key) => {
                if let Some((thread, step, severity)) = self.standing.get(key).cloned() {
                    self.queue(&thread, Occasion::Raised(step + 1), severity);
                    self.standing.insert(*key, (thread, step + 1, severity));
                }
            }
            Event::Over(key) => {
                if let Some((thread, _, severity)) = self.standing.remove(key) {
                    self.queue(&thread, Occasion::Over, severity);
                }
            }
            Event::Raise(..) | Event::Server(_) => {}
        }
    }

    /// A round of deliveries, as the courier makes it.
    fn deliver(&mut self, server: Server) {
        let begun = self.left.iter().filter(|left| left.known);
        let begun: BTreeSet<_> = begun
            .flat_map(|left| &left.letters)
            .map(|s| s.thread.clone())
            .collect();
        for slip in &mut self.waiting {
            slip.begun = begun.contains(&slip.thread);
        }
        let known = self
            .left
            .iter()
            .filter(|left| left.known && left.at.until(self.now) < DAY);
        let sent: Vec<Timestamp> = known.map(|left| left.at).collect();
        let sorting = sort(&self.waiting, &sent, Some(PACE), None, self.now);
        for (seq, held, until) in &sorting.held {
            let slip = self
                .waiting
                .iter_mut()
                .find(|slip| slip.seq == *seq)
                .unwrap();
            (slip.held, slip.due_at) = (*held, *until);
        }
        let spared = |slip: &Slip| sorting.spared.contains(&slip.seq);
        self.spared
            .extend(self.waiting.iter().filter(|slip| spared(slip)).cloned());
        self.waiting.retain(|slip| !spared(slip));
        for numbers in &sorting.mails {
            let letters: Vec<Slip> = self
                .waiting
                .iter()
                .filter(|s| numbers.contains(&s.seq))
                .cloned()
                .collect();
            assert_eq!(letters.len(), numbers.len(), "each of them waits, and once");
            let sealed = letters.iter().find_map(|slip| slip.mail.clone());
            let id = sealed.unwrap_or_else(|| format!("{numbers:?}"));
            let several = letters.len() > 1;
            match server {
                Server::Takes => self.waiting.retain(|slip| !numbers.contains(&slip.seq)),
                Server::RefusesSeveral if !several => {
                    self.waiting.retain(|slip| !numbers.contains(&slip.seq))
                }
                Server::RefusesSeveral | Server::Away | Server::Lies => {
                    for slip in self.waiting.iter_mut().filter(|s| numbers.contains(&s.seq)) {
                        slip.attempts += 1;
                        match server {
                            Server::Lies => slip.mail = Some(id.clone()),
                            Server::RefusesSeveral => slip.alone = true,
                            Server::Takes | Server::Away => {}
                        }
                        slip.due_at = self.now + Seconds(60);
                    }
                    if server != Server::Lies {
                        return;
                    }
                }
            }
            let known = server != Server::Lies;
            self.left.push(Left {
                at: self.now,
                id,
                letters,
                known,
            });
            if !known {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn everything_is_told_once_in_order_and_within_the_budget(
        events in prop::collection::vec((0..4000_i64, event()), 1..150)
    ) {
        let mut world = World { now: T, ..World::default() };
        let mut server = Server::Takes;
        for (wait, event) in &events {
            world.now = world.now + Seconds(*wait);
            if let Event::Server(other) = event {
                server = *other;
            }
            world.happen(event);
            world.deliver(server);
        }
        let (mut rounds, end) = (0, world.now + Seconds::days(40));
        while !world.waiting.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 2000 && world.now < end, "{} wait still", world.waiting.len());
            // As the journal answers: what waits for another one of its thread has no time of its own.
            let first = |slip: &&Slip| {
                let before = |other: &&Slip| other.seq < slip.seq && other.thread == slip.thread;
                !world.waiting.iter().any(|other| before(&other))
            };
            let next = world.waiting.iter().filter(first).map(|slip| slip.due_at).min().unwrap();
            world.now = next.max(world.now + Seconds(1));
            world.deliver(Server::Takes);
        }
        let mails: BTreeSet<&str> = world.left.iter().map(|left| left.id.as_str()).collect();
        // Each letter left in one mail, were that sent twice, or was not needed any more.
        for seq in 1..=world.seq {
            let in_mails: BTreeSet<&str> = world.left.iter()
                .filter(|left| left.letters.iter().any(|slip| slip.seq == seq))
                .map(|left| left.id.as_str())
                .collect();
            let spared = usize::from(world.spared.iter().any(|slip| slip.seq == seq));
            prop_assert_eq!(in_mails.len() + spared, 1, "letter {}", seq);
        }
        for left in world.left.iter().filter(|left| left.known) {
            let same = world.left.iter().filter(|other| other.known && other.id == left.id);
            prop_assert_eq!(same.count(), 1, "{} was sent again after it was known to be taken over", &left.id);
        }
        // An end comes after its beginning, and nothing is spared but what was over before its time.
        let position = |of: &dyn Fn(&Slip) -> bool| world.left.iter().position(|left| left.letters.iter().any(of));
        for (at, left) in world.left.iter().enumerate() {
            for over in left.letters.iter().filter(|slip| slip.occasion == Occasion::Over) {
                let first = position(&|slip| slip.thread == over.thread && slip.occasion != Occasion::Over);
                prop_assert!(first.is_some_and(|first| first < at), "{:?}", over.thread);
            }
        }
        for slip in world.spared.iter().filter(|slip| slip.occasion != Occasion::Over) {
            prop_assert!(slip.severity != Severity::Critical && slip.due_at > slip.queued_at);
        }
        // Mails of any 24 hours, those with something critical aside; what was taken apart is beside it.
        let plain: Vec<Timestamp> = world.left.iter()
            .filter(|left| left.known && left.letters.iter().all(|slip| slip.severity != Severity::Critical))
            .filter(|left| left.letters.iter().all(|slip| slip.mail.is_none()))
            .map(|left| left.at)
            .collect();
        for (at, moment) in plain.iter().enumerate() {
            let day = plain[at..].iter().filter(|other| moment.until(**other) < DAY).count();
            prop_assert!(day <= 6, "{} mails in a day", day);
        }
        prop_assert!(mails.len() <= world.left.len());
    }
}

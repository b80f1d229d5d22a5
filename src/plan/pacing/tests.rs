//! Moments at which windows open, and how a budget frees itself.

use super::*;

/// Monday, 2027-03-01, 00:00 UTC.
const WEEK_BEGINS: i64 = 1_803_859_200;

fn at(day: i64, hour: i64, minute: i64) -> Timestamp {
    Timestamp(WEEK_BEGINS + day * DAY + hour * 3600 + minute * 60)
}

fn window(days: &[usize], from: i64, hours: i64) -> MaintenanceWindow {
    let mut on = [false; 7];
    for day in days {
        on[*day] = true;
    }
    MaintenanceWindow {
        days: on,
        from: Seconds(from * 3600),
        length: Seconds(hours * 3600),
    }
}

#[test]
fn no_windows_are_always_open() {
    assert_eq!(opens(&[], at(2, 12, 0)), None);
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_it_opens_on() {
    let nights = [window(&[0, 1, 2, 3, 4], 22, 6)];
    assert_eq!(opens(&nights, at(0, 21, 59)), Some(at(0, 22, 0)));
    assert_eq!(opens(&nights, at(0, 22, 0)), None);
    assert_eq!(opens(&nights, at(1, 3, 59)), None);
    assert_eq!(opens(&nights, at(1, 4, 0)), Some(at(1, 22, 0)));
    assert_eq!(opens(&nights, at(5, 3, 59)), None, "Friday's");
    assert_eq!(opens(&nights, at(5, 4, 0)), Some(at(7, 22, 0)));
    assert_eq!(
        opens(&nights, at(0, 0, 0)),
        Some(at(0, 22, 0)),
        "none on Sunday"
    );
}

#[test]
fn a_window_may_cross_the_end_of_the_week_and_fill_a_day() {
    let sunday = [window(&[6], 23, 2)];
    assert_eq!(opens(&sunday, at(7, 0, 59)), None);
    assert_eq!(opens(&sunday, at(7, 1, 0)), Some(at(13, 23, 0)));
    let whole = [window(&[6], 0, 24)];
    assert_eq!(opens(&whole, at(6, 23, 59)), None);
    assert_eq!(opens(&whole, at(7, 0, 0)), Some(at(13, 0, 0)));
}

#[test]
fn the_first_of_several_windows_counts() {
    let both = [window(&[4], 22, 2), window(&[2], 3, 1)];
    assert_eq!(opens(&both, at(0, 0, 0)), Some(at(2, 3, 0)));
    assert_eq!(opens(&both, at(2, 4, 0)), Some(at(4, 22, 0)));
    assert_eq!(opens(&both, at(4, 23, 0)), None);
}

#[test]
fn moments_before_1970_have_a_day_of_the_week_too() {
    let thursday = [window(&[3], 0, 24)];
    assert_eq!(opens(&thursday, Timestamp(0)), None);
    assert_eq!(opens(&thursday, Timestamp(-1)), Some(Timestamp(0)));
}

#[test]
fn the_budget_frees_itself_an_hour_after_the_oldest_reload_that_counts() {
    let now = at(0, 12, 0);
    let made = [at(0, 10, 0), at(0, 11, 10), at(0, 11, 20), at(0, 11, 50)];
    assert_eq!(room(&made, 4, now), None);
    assert_eq!(room(&made, 3, now), Some(at(0, 12, 10)));
    assert_eq!(room(&made, 2, now), Some(at(0, 12, 20)), "a lowered budget");
    assert_eq!(room(&made, 3, at(0, 12, 10)), None, "at that very moment");
    assert_eq!(room(&[], 1, now), None);
}

#[test]
fn a_reload_from_the_future_holds_nothing_up() {
    assert_eq!(room(&[at(3, 0, 0)], 1, at(0, 0, 0)), None);
}

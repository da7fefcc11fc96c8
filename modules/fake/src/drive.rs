//! Movement arithmetic of a fake motor: power and duration from speed and distance. Pure, without a clock.

use std::time::Duration;

/// Least fraction of full power at which a motor counts as powered and moving.
const MOVING_POWER: f64 = 0.005;

/// Refused movement. Robot programs match these texts.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub(crate) enum DriveError {
    #[error("Cannot move motor at an RPM that is nearly 0")]
    ZeroRpm,
    #[error("Cannot move motor for 0 revolutions")]
    ZeroRevolutions,
    #[error("cannot move motor: rpm and revolutions must be finite numbers")]
    NotFinite,
}

/// Movement of limited duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    /// Power during the movement, -1 to 1.
    pub power: f64,
    /// Duration.
    pub time: Duration,
    /// Distance in revolutions, signed.
    pub revolutions: f64,
}

/// Plans a run over `revolutions` at `rpm`; their signs multiply. A speed beyond `max_rpm` is driven at full power, and
/// still ends when the asked speed would have got there.
pub(crate) fn run_for(rpm: f64, revolutions: f64, max_rpm: f64) -> Result<Run, DriveError> {
    if rpm == 0.0 {
        return Err(DriveError::ZeroRpm);
    }
    if revolutions == 0.0 {
        return Err(DriveError::ZeroRevolutions);
    }
    if !rpm.is_finite() || !revolutions.is_finite() {
        return Err(DriveError::NotFinite);
    }
    let direction = rpm.signum() * revolutions.signum();
    let ms = ((revolutions / rpm).abs() * 60_000.0).floor();
    Ok(Run {
        power: direction * (rpm.abs() / max_rpm).min(1.0),
        // The cast saturates, and half a billion years are as good as for ever.
        time: Duration::from_millis(ms as u64),
        revolutions: direction * revolutions.abs(),
    })
}

/// Plans a run from one position to another at `rpm`, whose sign does not matter.
pub(crate) fn run_to(rpm: f64, from: f64, to: f64, max_rpm: f64) -> Result<Run, DriveError> {
    run_for(rpm.abs(), to - from, max_rpm)
}

/// Power that keeps `rpm`. Not clamped, so that a fake shows the commanded value.
pub(crate) fn power_of_rpm(rpm: f64, max_rpm: f64) -> Result<f64, DriveError> {
    if rpm == 0.0 {
        Err(DriveError::ZeroRpm)
    } else {
        Ok(rpm / max_rpm)
    }
}

/// Whether a motor with this power counts as powered and moving.
pub(crate) fn is_moving(power: f64) -> bool {
    power.abs() >= MOVING_POWER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_power_the_time_and_the_distance_that_were_asked() {
        //    rpm   rev    max     power     ms  distance
        for (rpm, revolutions, max_rpm, power, ms, distance) in [
            (60.0, 1.0, 100.0, 0.6, 1_000, 1.0),
            (-60.0, 1.0, 100.0, -0.6, 1_000, -1.0),
            (60.0, -1.0, 100.0, -0.6, 1_000, -1.0),
            (-60.0, -1.0, 100.0, 0.6, 1_000, 1.0),
            (300.0, 10.0, 100.0, 1.0, 2_000, 10.0),
            (90.0, 0.1, 100.0, 0.9, 66, 0.1),
            (0.05, 0.1, 100.0, 0.0005, 120_000, 0.1),
        ] {
            let run = run_for(rpm, revolutions, max_rpm).unwrap();
            assert_eq!(
                run.time,
                Duration::from_millis(ms),
                "{rpm} rpm, {revolutions} revolutions"
            );
            assert!(
                (run.power - power).abs() < 1e-9,
                "{rpm} rpm, {revolutions} revolutions: {run:?}"
            );
            assert!(
                (run.revolutions - distance).abs() < 1e-9,
                "{rpm} rpm, {revolutions} revolutions: {run:?}"
            );
        }
    }

    #[test]
    fn going_to_a_place_takes_its_direction_from_the_difference_alone() {
        for rpm in [30.0, -30.0] {
            let back = run_to(rpm, 2.5, 2.0, 100.0).unwrap();
            assert_eq!(
                (back.power, back.time, back.revolutions),
                (-0.3, Duration::from_secs(1), -0.5)
            );
        }
        assert_eq!(run_to(30.0, 2.0, 2.0, 100.0), Err(DriveError::ZeroRevolutions));
    }

    #[test]
    fn what_cannot_be_driven_is_refused() {
        assert_eq!(run_for(0.0, 1.0, 100.0), Err(DriveError::ZeroRpm));
        assert_eq!(run_for(-0.0, 0.0, 100.0), Err(DriveError::ZeroRpm));
        assert_eq!(run_for(10.0, 0.0, 100.0), Err(DriveError::ZeroRevolutions));
        assert_eq!(run_for(f64::NAN, 1.0, 100.0), Err(DriveError::NotFinite));
        assert_eq!(run_for(10.0, f64::INFINITY, 100.0), Err(DriveError::NotFinite));
        assert_eq!(power_of_rpm(0.0, 100.0), Err(DriveError::ZeroRpm));
    }

    #[test]
    fn a_run_that_would_take_ages_is_planned_without_an_overflow() {
        assert!(run_for(1e-300, 1e300, 100.0).unwrap().time > Duration::from_secs(1 << 40));
    }

    #[test]
    fn power_for_a_steady_speed_is_not_limited() {
        assert_eq!(power_of_rpm(50.0, 100.0), Ok(0.5));
        assert_eq!(power_of_rpm(-100_000.0, 100.0), Ok(-1_000.0));
    }

    #[test]
    fn half_a_percent_of_power_counts_as_moving() {
        for (power, moving) in [
            (0.0, false),
            (0.0049, false),
            (0.005, true),
            (-0.005, true),
            (f64::NAN, false),
        ] {
            assert_eq!(is_moving(power), moving, "power {power}");
        }
    }
}

use super::super::random::Random;
use super::*;

/// A value of the normal law, by the sum of twelve.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

fn samples(a: Vec<f64>, b: Vec<f64>, paired: bool) -> Samples {
    Samples { metric: "throughput".into(), unit: "MiB/s", better: Better::More, a, b, paired }
}

/// `count` values around `centre` with a relative spread of `spread`.
fn draw(random: &mut Random, count: usize, centre: f64, spread: f64) -> Vec<f64> {
    (0..count).map(|_| centre * (spread * normal(random)).exp()).collect()
}

/// Shares of 2,000 trials that find a difference, and whose interval holds the true ratio.
fn trials(count: usize, ratio: f64, spread: f64, paired: bool) -> (f64, f64) {
    const TRIALS: usize = 2_000;
    let mut random = Random::new(count as u64);
    let (mut found, mut held) = (0, 0);
    for _ in 0..TRIALS {
        let a = draw(&mut random, count, 100.0, spread);
        let b = draw(&mut random, count, 100.0 * ratio, spread);
        let verdict = samples(a, b, paired).verdict();
        found += usize::from(verdict.differs);
        held += usize::from(verdict.interval.is_some_and(|(low, high)| low <= ratio && ratio <= high));
    }
    (found as f64 / TRIALS as f64, held as f64 / TRIALS as f64)
}

#[test]
fn where_there_is_no_difference_one_is_found_in_one_of_twenty() {
    for (count, paired) in [(3, true), (5, true), (10, true), (5, false), (20, false)] {
        let (found, held) = trials(count, 1.0, 0.05, paired);
        assert!(found <= 0.075, "{count} {paired}: {found}");
        assert!(held >= 0.93, "{count} {paired}: {held}");
    }
}

#[test]
fn a_difference_is_found_with_its_size() {
    for (count, paired) in [(5, true), (10, true), (10, false)] {
        let (found, held) = trials(count, 1.12, 0.03, paired);
        assert!(found >= 0.97, "{count} {paired}: {found}");
        assert!(held >= 0.93, "{count} {paired}: {held}");
    }
}

#[test]
fn drift_common_to_pairs_does_not_hide_a_difference() {
    let a = vec![100.0, 130.0, 90.0, 160.0, 120.0];
    let b: Vec<f64> = a.iter().zip([1.11, 1.12, 1.13, 1.12, 1.12]).map(|(a, by)| a * by).collect();
    assert!(samples(a.clone(), b.clone(), true).verdict().differs);
    assert!(!samples(a, b, false).verdict().differs);
}

#[test]
fn slices_that_resemble_their_neighbours_count_for_less() {
    // A slow wave, of which each run has seen another part.
    let wave = |from: u32| (from..from + 20).map(|n| 100.0 * (1.0 + 0.1 * (f64::from(n) / 8.0).sin())).collect();
    let verdict = samples(wave(0), wave(10), false).verdict();
    assert!(!verdict.differs, "{verdict:?}");
}

#[test]
fn the_words_say_which_way_and_how_sure() {
    let text = |a: &[f64], b: &[f64], metric: &str, better| {
        let samples = Samples { metric: metric.into(), better, ..samples(a.to_vec(), b.to_vec(), true) };
        samples.verdict().text
    };
    let a = [100.0, 101.0, 99.0, 100.0];
    let faster = text(&a, &[112.0, 113.5, 110.5, 112.0], "throughput", Better::More);
    assert!(faster.starts_with("faster by 12 % (95 % CI "), "{faster}");
    assert!(text(&a, &[50.0, 51.0, 49.0, 50.0], "throughput", Better::More).starts_with("slower by 50 %"));
    assert!(text(&a, &[50.0, 51.0, 49.0, 50.0], "pull p99", Better::Less).starts_with("better: less by 50 %"));
    assert!(text(&a, &[99.0, 102.0, 98.0, 101.0], "throughput", Better::More).starts_with("no difference found"));
    assert!(text(&a[..2], &[50.0, 51.0], "throughput", Better::More).starts_with("too few values"));
    // Sure, but not worth a word.
    assert!(text(&a, &[100.1, 101.1, 99.1, 100.1], "throughput", Better::More).starts_with("no difference found"));
}

#[test]
fn what_cannot_be_compared_is_no_panic() {
    for (a, b) in
        [(vec![], vec![]), (vec![0.0; 4], vec![1.0; 4]), (vec![1.0; 4], vec![1.0; 4]), (vec![f64::NAN], vec![1.0])]
    {
        assert!(!samples(a.clone(), b.clone(), true).verdict().differs);
        assert!(!samples(a, b, false).verdict().differs);
    }
}

#[test]
fn students_t_is_that_of_the_tables() {
    for (freedom, t) in
        [(1.0, 12.706), (4.0, 2.776), (9.0, 2.262), (10.0, 2.228), (20.0, 2.086), (60.0, 2.000), (1e6, 1.960)]
    {
        assert!((t95(freedom) - t).abs() < 0.002, "{freedom}: {}", t95(freedom));
    }
    assert!(t95(4.5) < t95(4.0) && t95(4.5) > t95(5.0));
}

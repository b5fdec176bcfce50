//! What a host refuses.

use super::*;

/// The error for an export of a disk of two grains after `change` was done to it.
fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let bench = Bench::new();
    let disk = bench.empty("disk", 2 * GRAIN);
    disk.write_at(b"first", 0).unwrap();
    disk.write_at(b"second", GRAIN).unwrap();
    let mut stream = stream(
        &disk,
        &EncodeOptions {
            stale_padding: false,
            ..EncodeOptions::default()
        },
    );
    change(&mut stream);
    take(bench.empty("back", 2 * GRAIN), &stream, 700).expect_err("the stream should be refused")
}

#[test]
fn a_stream_without_its_end_is_refused() {
    for missing in [1, 512, 700, 1024, 2048, 5000] {
        let why = refusal(|stream| stream.truncate(stream.len() - missing));
        assert!(why.contains("Unexpected end of file"), "{why}");
    }
    assert!(refusal(|stream| stream.clear()).contains("Unexpected end of file"));
}

#[test]
fn bytes_after_the_end_are_refused() {
    assert!(refusal(|stream| stream.push(0)).contains("after the end-of-stream marker"));
}

#[test]
fn an_old_version_is_refused() {
    assert!(refusal(|stream| stream[4] = 1).contains("sparse VMDK version too old"));
}

#[test]
fn another_capacity_is_refused() {
    assert!(refusal(|stream| stream[13] = 2).contains("Disk size mismatch"));
}

#[test]
fn a_grain_off_the_disk_is_refused() {
    assert!(refusal(|stream| stream[FIRST + 1] = 1).contains("is not on the disk"));
    assert!(refusal(|stream| stream[FIRST + 7] = 0x80).contains("is not on the disk"));
    assert!(refusal(|stream| stream[FIRST] = 1).contains("is not on the disk"));
}

#[test]
fn a_grain_with_a_flipped_bit_is_refused() {
    for at in [12, 13, 14, 20, 40] {
        let why = refusal(|stream| stream[FIRST + at] ^= 1);
        assert!(why.contains("does not inflate"), "byte {at}: {why}");
    }
}

#[test]
fn a_grain_with_a_wrong_size_is_refused() {
    for change in [-1i8, 1] {
        let why =
            refusal(|stream| stream[FIRST + 8] = stream[FIRST + 8].wrapping_add_signed(change));
        assert!(why.contains("does not inflate"), "{why}");
    }
    assert!(refusal(|stream| stream[FIRST + 11] = 0xff).contains("compressed bytes"));
}

#[test]
fn an_unknown_marker_is_refused() {
    let why = refusal(|stream| {
        stream[FIRST + 8..FIRST + 12].fill(0);
        stream[FIRST + 12] = 9;
    });
    assert!(why.contains("unknown marker type"), "{why}");
}

#[test]
fn an_error_is_given_again() {
    let bench = Bench::new();
    let mut decoder = Decoder::new(bench.empty("back", GRAIN));
    let first = decoder.feed(&[0; 512]).unwrap_err();
    assert_eq!(decoder.feed(&[0; 512]), Err(first.clone()));
    assert_eq!(decoder.finish().map(|_| ()), Err(first));
}

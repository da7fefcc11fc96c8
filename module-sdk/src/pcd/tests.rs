//! Files of other writers, broken ones, and mutations of both.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn point(x: f64, y: f64, z: f64) -> Point {
    Point {
        position_mm: Vector3 { x, y, z },
        color: None,
    }
}

fn colored(x: f64, y: f64, z: f64, [r, g, b]: [u8; 3]) -> Point {
    Point {
        color: Some(Color { r, g, b }),
        ..point(x, y, z)
    }
}

fn read(text: &[u8]) -> Vec<Point> {
    Points::from_pcd(text).unwrap().points
}

/// Compresses the way LZF allows without looking for repetitions.
fn literals(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks(32)
        .flat_map(|chunk| std::iter::once(chunk.len() as u8 - 1).chain(chunk.iter().copied()))
        .collect()
}

fn compressed_file() -> Vec<u8> {
    let columns = [
        [1.0_f32, 2.0].map(f32::to_le_bytes).concat(),
        vec![7, 8, 9, 10],
        [3.0_f32, 4.0].map(f32::to_le_bytes).concat(),
        [[3, 2, 1, 0], [6, 5, 4, 0]].concat(),
        [(-5_i64).to_le_bytes(), 6_i64.to_le_bytes()].concat(),
    ]
    .concat();
    let packed = literals(&columns);
    let mut file = b"VERSION 0.7\nFIELDS x ring y rgb z\nSIZE 4 1 4 4 8\nTYPE F U F U I\nCOUNT 1 2 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA binary_compressed\n".to_vec();
    file.extend((packed.len() as u32).to_le_bytes());
    file.extend((columns.len() as u32).to_le_bytes());
    file.extend(packed);
    file
}

const ASCII: &str = "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS rgb z y x normal\nSIZE 4 2 8 4 4\nTYPE U I F F F\nCOUNT 1 1 1 1 3\nWIDTH 2\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 2\nDATA ascii\n4278255360 -3 0.5 1e-3 0 0 1\n66051 2 nan 1 0 0 1\n";

#[test]
fn written_is_byte_for_byte_what_peers_write() {
    let plain = Points {
        points: vec![point(1000.0, -500.0, 0.0)],
    };
    let mut expected = b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 1\nDATA binary\n".to_vec();
    expected.extend([1.0_f32, -0.5, 0.0].map(f32::to_le_bytes).concat());
    assert_eq!(plain.to_pcd(), expected);
    let mixed = Points {
        points: vec![colored(1000.0, 0.0, 0.0, [1, 2, 3]), point(0.0, 0.0, 0.0)],
    };
    let bytes = mixed.to_pcd();
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F I\nCOUNT 1 1 1 1\nWIDTH 2\n"),
        "{text}"
    );
    // 0x00010203, little-endian, and black.
    assert_eq!(bytes[bytes.len() - 20..][..4], [3, 2, 1, 0]);
    assert_eq!(read(&bytes)[1].color, Some(Color::default()));
    assert_eq!(read(&Points::default().to_pcd()), []);
}

#[test]
fn ascii_is_read_with_fields_of_any_order_and_type() {
    let points = read(ASCII.as_bytes());
    assert_eq!(points[0].color, Some(Color { r: 0, g: 255, b: 0 }));
    let Vector3 { x, y, z } = points[0].position_mm;
    assert!(
        (x - 1.0).abs() < 1e-4 && (y - 500.0).abs() < 1e-9 && (z + 3000.0).abs() < 1e-9,
        "{points:?}"
    );
    assert!(points[1].position_mm.y.is_nan());
    assert_eq!(points[1].color, Some(Color { r: 1, g: 2, b: 3 }));
}

#[test]
fn compressed_data_is_read_column_by_column() {
    let expected = [
        colored(1000.0, 3000.0, -5000.0, [1, 2, 3]),
        colored(2000.0, 4000.0, 6000.0, [4, 5, 6]),
    ];
    assert_eq!(read(&compressed_file()), expected);
}

#[test]
fn errors_tell_the_line_and_the_cause() {
    let head = "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1\nHEIGHT 1\nPOINTS 1\n";
    for (text, expected) in [
        (String::new(), "line 1: the file ends before `DATA`"),
        (
            "\u{89}PNG\r\n".into(),
            "line 1: `\\u{89}PNG` is no keyword of a PCD header",
        ),
        (
            head.replace("FIELDS x y z", "FIELDS x y") + "DATA ascii\n",
            "line 2: `FIELDS` has no `z`",
        ),
        (
            head.replace("SIZE 4 4 4", "SIZE 4 4") + "DATA ascii\n",
            "line 3: `SIZE` has 2 values for 3 fields",
        ),
        (
            head.replace("SIZE 4 4 4", "SIZE 4 3 4") + "DATA ascii\n",
            "line 3: field `y` of this type cannot have the size `3`",
        ),
        (
            head.replace("TYPE F F F", "TYPE F F X") + "DATA ascii\n",
            "line 4: the type `X` is not F, I or U",
        ),
        (
            head.replace("WIDTH 1", "WIDTH -1") + "DATA ascii\n",
            "line 6: `WIDTH` has `-1`, which is no count",
        ),
        (
            head.replace("POINTS 1", "POINTS 2") + "DATA ascii\n",
            "line 8: `POINTS` is 2, width times height is 1",
        ),
        (head.to_owned() + "WIDTH 1\n", "line 9: `WIDTH` is there twice"),
        (
            head.to_owned() + "DATA zip\n",
            "line 9: `DATA` is `zip`, not `ascii`, `binary` or `binary_compressed`",
        ),
        (
            head.to_owned() + "DATA ascii\n1 2\n",
            "line 10: the point has 2 values, its fields have 3",
        ),
        (
            head.to_owned() + "DATA ascii\n\n1 2 x\n",
            "line 11: `x` is not a number of its field",
        ),
        (
            head.to_owned() + "DATA ascii\n",
            "line 10: the data ends after 0 of 1 points",
        ),
        (
            head.to_owned() + "DATA binary\n1234",
            "binary data: 1 points of 12 bytes are announced, 4 bytes follow",
        ),
        (
            head.to_owned() + "DATA binary_compressed\n1234",
            "binary data: it ends before the lengths of what is compressed",
        ),
    ] {
        let error = Points::from_pcd(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("PCD file, {expected}"), "{text}");
    }
}

#[test]
fn a_header_that_lies_costs_nothing() {
    let head = |points: &str| format!("FIELDS x y z\nSIZE 1 1 1\nTYPE U U U\nPOINTS {points}\n");
    for points in [
        "18446744073709551615",
        "6148914691236517206",
        "4000000000",
        "1431655765",
    ] {
        for data in [
            "ascii\n1 1 1\n",
            "binary\n123",
            "binary_compressed\n\0\0\0\0\u{7f}\u{7f}\u{7f}\u{7f}abc",
        ] {
            let start = Instant::now();
            assert!(Points::from_pcd(format!("{}DATA {data}", head(points)).as_bytes()).is_err());
            assert!(start.elapsed() < Duration::from_secs(1));
        }
    }
    // 24 MB and 33 million points that are all the same, in 250 kB.
    let mut bomb = format!("{}DATA binary_compressed\n", head(&(1 << 25).to_string())).into_bytes();
    bomb.extend(300_000_u32.to_le_bytes());
    bomb.extend((3_u32 << 25).to_le_bytes());
    bomb.extend(vec![0; 300_000]);
    assert!(
        Points::from_pcd(&bomb)
            .unwrap_err()
            .cause
            .starts_with("compressed clouds are read up to")
    );
}

fn seed() -> impl Strategy<Value = Vec<u8>> {
    let cloud = Points {
        points: vec![colored(1.0, 2.0, 3.0, [9, 8, 7]); 3],
    };
    prop::sample::select(vec![ASCII.as_bytes().to_vec(), compressed_file(), cloud.to_pcd()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mutation_is_survived(mut file in seed(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6)) {
        for (at, byte, change) in changes {
            let at = at.index(file.len().max(1)).min(file.len().saturating_sub(1));
            match change {
                0 if !file.is_empty() => file[at] = byte,
                1 => file.insert(at, b"0123456789 \n-.FIUxyz"[usize::from(byte) % 20]),
                2 => file.truncate(at),
                3 if !file.is_empty() => { file.remove(at); }
                _ => {}
            }
        }
        let start = Instant::now();
        if let Ok(read) = Points::from_pcd(&file) {
            prop_assert!(read.points.len() <= file.len() * 132);
        }
        prop_assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn any_cloud_is_read_as_it_was_written(points in prop::collection::vec(([-1e6..1e6_f32, -1e6..1e6_f32, -1e6..1e6_f32], any::<[u8; 3]>()), 0..20)) {
        let points = Points { points: points.into_iter().map(|([x, y, z], color)| colored(x.into(), y.into(), z.into(), color)).collect() };
        let read = Points::from_pcd(&points.to_pcd()).unwrap();
        prop_assert_eq!(read.points.len(), points.points.len());
        for (read, written) in read.points.iter().zip(&points.points) {
            prop_assert_eq!(read.color, written.color);
            prop_assert!((read.position_mm.x - written.position_mm.x).abs() <= written.position_mm.x.abs() * 1e-6 + 1e-9);
        }
    }
}

//! Buffers: bounds, sharing, return.

use std::time::Duration;

use super::super::*;
use super::{joined, on_both};

#[test]
fn a_pool_is_bounded_and_a_buffer_dropped_elsewhere_comes_home() {
    on_both(|_| async {
        let pool = BufferPool::new(2).unwrap();
        let (one, two) = (pool.try_get().unwrap(), pool.get().await);
        assert!(pool.try_get().is_none());
        assert!(timeout(Duration::from_millis(5), pool.get()).await.is_err());
        let address = one.as_ptr();
        let frozen = one.freeze();
        let shared = frozen.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(shared);
        });
        drop(frozen);
        let again = pool.get().await;
        assert_eq!(again.as_ptr(), address, "the same memory, not new memory");
        assert!(again.is_empty());
        joined(thread).await;
        drop((two, again));
        assert!(pool.try_get().is_some());
    });
}

#[test]
fn a_buffer_is_aligned_fills_in_pieces_and_is_shared_without_a_copy() {
    on_both(|_| async {
        let pool = BufferPool::new(1).unwrap();
        let mut buffer = pool.get().await;
        assert_eq!(buffer.as_ptr().align_offset(PAGE_BYTES), 0);
        assert_eq!(buffer.fill(&vec![0xff; BUFFER_BYTES + 1]), BUFFER_BYTES);
        assert_eq!((buffer.room(), buffer.fill(b"x")), (0, 0));
        buffer.clear();
        buffer.fill(b"hello ");
        buffer.fill(b"world");
        let address = buffer.as_ptr();
        let frozen = buffer.freeze();
        assert_eq!((&frozen[..], frozen.as_ptr()), (&b"hello world"[..], address));
        assert_eq!(frozen.padded().len(), PAGE_BYTES);
        assert!(
            frozen.padded()[11..].iter().all(|&byte| byte == 0),
            "what an earlier use left behind would reach the disk"
        );
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let frozen = frozen.clone();
                std::thread::spawn(move || frozen.iter().map(|&byte| u32::from(byte)).sum::<u32>())
            })
            .collect();
        let sum = b"hello world".iter().map(|&byte| u32::from(byte)).sum::<u32>();
        for reader in readers {
            assert_eq!(joined(reader).await, sum);
        }
    });
}

//! Very many images at once: written straight into a database of Glance's schema, in seconds.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::{Error, Result};

/// Longest wait for the server's own changes.
const BUSY: Duration = Duration::from_secs(30);

/// Active images with a location, two tags and four properties each, of forty projects and all visibilities; some are queued, protected
/// or hidden. Ids are [`id`]'s. Sizes and times of change go another way than the order of making.
const FILL: &str = "
INSERT INTO images (id, name, size, status, created_at, updated_at, deleted, disk_format, container_format, checksum,
    owner, min_disk, min_ram, protected, virtual_size, visibility, os_hidden, os_hash_algo, os_hash_value)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
SELECT printf('%08x-5a0b-4f0e-9d8e-3b1c1a2d4e5f', i), printf('image-%06d', i * 7919 % ?1), (i * 104729 % 1000003 + 1) << 20,
    iif(i % 50 = 7, 'queued', 'active'),
    strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 61, 'unixepoch') || '.000000',
    strftime('%Y-%m-%d %H:%M:%S', 1706200000 + i * 7919 % ?1 * 61, 'unixepoch') || '.000000', 0,
    CASE i % 4 WHEN 0 THEN 'raw' WHEN 1 THEN 'iso' ELSE 'qcow2' END, iif(i % 9 = 0, 'docker', 'bare'),
    lower(hex(randomblob(16))), printf('%032x', i / 11 % 40), i / 5 % 3 * 10, i / 7 % 4 * 512, i % 97 = 0, 10 << 30,
    CASE i / 3 % 10 WHEN 0 THEN 'public' WHEN 1 THEN 'community' WHEN 2 THEN 'private' ELSE 'shared' END, i % 1009 = 3,
    'sha512', lower(hex(randomblob(64)))
FROM n;
INSERT INTO image_locations (image_id, value, meta_data, status, created_at, updated_at, deleted)
SELECT id, 'file:///var/lib/glance/images/' || id, '{}', 'active', created_at, created_at, 0 FROM images WHERE status = 'active';
INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted)
SELECT id, 'all', created_at, created_at, 0 FROM images;
INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted)
SELECT id, 'tag-' || (rowid % 3000), created_at, created_at, 0 FROM images;
INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted)
SELECT id, p.name, CASE p.name WHEN 'os_distro' THEN 'distro-' || (images.rowid % 10) WHEN 'build' THEN images.rowid % 3000
    ELSE p.value END, created_at, created_at, 0
FROM images, (SELECT 'os_distro' AS name, '' AS value UNION ALL SELECT 'build', '' UNION ALL SELECT 'architecture', 'x86_64'
    UNION ALL SELECT 'hw_disk_bus', 'virtio') AS p;
";

/// Puts `images` images into the database at `path`, which has Glance's tables and no images. A server may be running on it.
///
/// # Errors
/// The database cannot be written.
pub fn fill(path: &Path, images: usize) -> Result<()> {
    let failed = |error: rusqlite::Error| Error::Setup(format!("filling {}: {error}", path.display()));
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let transaction = connection.transaction().map_err(failed)?;
    transaction.execute_batch(&FILL.replace("?1", &images.to_string())).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    // What a log of hundreds of megabytes would cost must not be paid by the first measurement. A database without one says so in a row.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
}

/// Id of image number `number`, from 0.
#[must_use]
pub fn id(number: usize) -> String {
    format!("{number:08x}-5a0b-4f0e-9d8e-3b1c1a2d4e5f")
}

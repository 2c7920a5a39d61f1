//! Quotas: what is reserved before bytes move, and how reservations grow.

use common::rpc::GrowUpload;

use super::*;

/// What is reserved then, of so many bytes.
async fn grow(world: &World, ticket: &UploadTicket, size: u64) -> Result<u64> {
    let message = GrowUpload { upload_id: ticket.upload_id.clone(), size, last: false };
    world.uploads.grow(message).await.map(|grown| grown.reserved)
}

async fn grow_at_last(world: &World, ticket: &UploadTicket, size: u64) -> Result<u64> {
    let message = GrowUpload { upload_id: ticket.upload_id.clone(), size, last: true };
    world.uploads.grow(message).await.map(|grown| grown.reserved)
}

/// New images, and tickets of uploads of unknown length for them.
async fn unknown(world: &World, count: usize) -> Vec<UploadTicket> {
    let mut tickets = Vec::new();
    for number in 0..count {
        let id = format!("{number:08}-ed3a-4a6c-8282-bcd0a6190aa8");
        world.create(|new| NewImage { id: id.clone(), ..new }).await;
        let message = OpenUpload { image_id: id, ..message("d1") };
        let opened = world.uploads.open(&message, Wanted { size: None }, member("p1"), world.authority.clone()).await;
        tickets.push(opened.expect("may begin"));
    }
    tickets
}

#[tokio::test]
async fn sizes_and_quotas_are_bounds() {
    let world = World::with("image_size_cap = 100\nuser_storage_quota = 150");
    world.create(|new| new).await;
    let open = |size| world.open_as(member("p1"), size);
    let error = open(Some(101)).await.expect_err("above the cap");
    let text = "The incoming image is too large: The provided image is too large.";
    assert_eq!((error.kind, error.message.as_str()), (Kind::TooLarge, text));
    let error = open(Some(151)).await.expect_err("above the quota");
    let text = "Image exceeds the storage quota: The size of the data 151 will exceed the limit. 150 bytes remaining.";
    assert_eq!((error.kind, error.message.as_str()), (Kind::TooLarge, text));
    let ticket = open(None).await.expect("fits");
    assert_eq!((ticket.size_max, ticket.expected_size, ticket.reserved), (100, None, Some(0)));
    assert_eq!(world.uploads.commit(data(&ticket, 1)).await.expect_err("not reserved").kind, Kind::TooLarge);
    assert_eq!(grow(&world, &ticket, 99).await, Ok(99));
    assert_eq!(grow(&world, &ticket, 100).await, Ok(100));
    world.uploads.commit(data(&ticket, 100)).await.expect("committed");
    assert_eq!(grow(&world, &ticket, 101).await.expect_err("it is over").kind, Kind::Conflict);

    let other = "aaaaaaaa-ed3a-4a6c-8282-bcd0a6190aa8";
    world.create(|new| NewImage { id: other.to_owned(), ..new }).await;
    let message = OpenUpload { image_id: other.to_owned(), ..message("d1") };
    let second = |size| world.uploads.open(&message, Wanted { size }, member("p1"), world.authority.clone());
    assert_eq!(second(Some(51)).await.expect_err("50 are left").kind, Kind::TooLarge);
    let ticket = second(Some(50)).await.expect("fits");
    assert_eq!((ticket.size_max, ticket.expected_size, ticket.reserved), (100, Some(50), None));
    let error = world.uploads.commit(data(&ticket, 51)).await.expect_err("more than is left");
    assert_eq!(error.kind, Kind::TooLarge);
    world.uploads.commit(data(&ticket, 50)).await.expect("committed");
    let third = "bbbbbbbb-ed3a-4a6c-8282-bcd0a6190aa8";
    world.create(|new| NewImage { id: third.to_owned(), ..new }).await;
    let message = OpenUpload { image_id: third.to_owned(), ..self::message("d1") };
    let third = world.uploads.open(&message, Wanted { size: None }, member("p1"), world.authority.clone()).await;
    let text = "Image exceeds the storage quota: The size of the data None will exceed the limit. 0 bytes remaining.";
    assert_eq!(third.expect_err("nothing is left").message, text);
}

#[tokio::test]
async fn open_uploads_count_for_the_quota() {
    let world = World::with("user_storage_quota = 150");
    let ids: Vec<String> = (0..8).map(|number| format!("{number:08}-ed3a-4a6c-8282-bcd0a6190aa8")).collect();
    for id in ids.clone() {
        world.create(|new| NewImage { id, ..new }).await;
    }
    let open = |id: &str, size| {
        let (uploads, authority) = (world.uploads.clone(), world.authority.clone());
        let message = OpenUpload { image_id: id.to_owned(), ..message("d1") };
        async move { uploads.open(&message, Wanted { size }, member("p1"), authority).await }
    };
    // Six at the same time, of which three fit.
    let tasks: Vec<_> = ids[..6].iter().map(|id| tokio::spawn(open(id, Some(50)))).collect();
    let mut tickets = Vec::new();
    for task in tasks {
        match task.await.expect("ends") {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => {
                assert!(
                    error.message.ends_with("The size of the data 50 will exceed the limit. 0 bytes remaining."),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(tickets.len(), 3);
    assert_eq!(open(&ids[6], None).await.expect_err("all is spoken for").kind, Kind::TooLarge);
    // One that fails gives back what it had; one that is committed keeps it.
    world.uploads.abort(tickets[0].upload_id.clone(), "the client vanished").await.expect("aborted");
    world.uploads.commit(data(&tickets[1], 50)).await.expect("committed");
    let unknown = open(&ids[6], None).await.expect("may begin");
    assert_eq!(unknown.reserved, Some(0));
    assert_eq!(grow(&world, &unknown, 20).await, Ok(20));
    assert_eq!(open(&ids[7], Some(31)).await.expect_err("30 are left").kind, Kind::TooLarge);
    let known = open(&ids[7], Some(30)).await.expect("fits");
    let error = grow_at_last(&world, &unknown, 21).await.expect_err("the rest is promised");
    let text = "Image exceeds the storage quota: The size of the data 21 will exceed the limit. 20 bytes remaining.";
    assert_eq!((error.kind, error.message.as_str()), (Kind::TooLarge, text));
    world.uploads.commit(data(&known, 30)).await.expect("what was promised is kept");
    world.uploads.commit(data(&unknown, 20)).await.expect("here too");
    world.uploads.commit(data(&tickets[2], 50)).await.expect("here too");
}

#[tokio::test]
async fn who_came_first_waits_for_who_came_later() {
    let world = World::with("user_storage_quota = 100");
    let tickets = unknown(&world, 3).await;
    for (ticket, size) in tickets.iter().zip([40, 30, 20]) {
        assert_eq!(grow(&world, ticket, size).await, Ok(size));
    }
    assert_eq!(grow(&world, &tickets[0], 51).await, Ok(40), "not now: the others may fail");
    assert_eq!(grow(&world, &tickets[1], 50).await, Ok(30), "the third may");
    assert_eq!(grow(&world, &tickets[2], 31).await.expect_err("nobody came later").kind, Kind::TooLarge);
    assert_eq!(grow_at_last(&world, &tickets[1], 50).await.expect_err("it waited").kind, Kind::TooLarge);
    world.uploads.abort(tickets[2].upload_id.clone(), "too large").await.expect("aborted");
    assert_eq!(grow(&world, &tickets[1], 50).await, Ok(50));
    assert_eq!(grow(&world, &tickets[0], 51).await, Ok(40), "the second may fail");
    world.uploads.commit(data(&tickets[1], 45)).await.expect("committed with less than it had");
    assert_eq!(grow(&world, &tickets[0], 55).await, Ok(55));
    assert_eq!(grow(&world, &tickets[0], 56).await.expect_err("all is there").kind, Kind::TooLarge);
    world.uploads.commit(data(&tickets[0], 55)).await.expect("committed");
}

#[tokio::test]
async fn much_room_is_reserved_in_large_steps() {
    let world = World::with("user_storage_quota = 64GB");
    let ticket = unknown(&world, 1).await.remove(0);
    assert_eq!(grow(&world, &ticket, 1).await, Ok(1 + (64 << 20)));
    for (left, more) in [(256 << 21, 1 << 21), (256 << 20, 1 << 20), ((256 << 20) - 1, 0), (0, 0)] {
        let size = (64 << 30) - left;
        assert_eq!(grow(&world, &ticket, size).await, Ok(size + more), "{left} bytes are left");
    }
    assert_eq!(grow(&world, &ticket, 1 + (64 << 30)).await.expect_err("more than all").kind, Kind::TooLarge);
}

#[tokio::test]
async fn a_reservation_goes_with_what_was_given_up() {
    let world = World::with("user_storage_quota = 100");
    world.dataplane();
    let ticket = unknown(&world, 1).await.remove(0);
    assert_eq!(grow(&world, &ticket, 100).await, Ok(100));
    world.create(|new| new).await;
    assert_eq!(world.open_as(member("p1"), Some(1)).await.expect_err("all is taken").kind, Kind::TooLarge);
    world.uploads.hello("d2".to_owned()).await.expect("welcome");
    world.fake().instance = "d2".to_owned();
    assert_eq!(grow(&world, &ticket, 1).await.expect_err("given up").kind, Kind::Conflict);
    assert_eq!(world.round().await, Ok(true));
    let message = message("d2");
    let again = world.uploads.open(&message, Wanted { size: Some(100) }, member("p1"), world.authority.clone()).await;
    assert_eq!(again.expect("all is free again").reserved, None);
}

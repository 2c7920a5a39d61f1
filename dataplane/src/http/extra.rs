//! Header lines that every answer to one request has, whoever makes the answer.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;

thread_local! {
    static LINES: RefCell<Option<Rc<str>>> = const { RefCell::new(None) };
}

/// Runs `work`; response heads that it begins have `lines`, each with its line end, besides. Other requests of the core,
/// which run while this one waits, have not.
pub(crate) async fn with_lines<F: Future>(lines: String, work: F) -> F::Output {
    if lines.is_empty() {
        return work.await;
    }
    let lines: Rc<str> = lines.into();
    let mut work = pin!(work);
    poll_fn(|context| {
        let outer = LINES.replace(Some(Rc::clone(&lines)));
        let polled = work.as_mut().poll(context);
        LINES.set(outer);
        polled
    })
    .await
}

/// Gives `write` the lines of the request that is being answered.
pub(crate) fn write_lines(write: impl FnOnce(&str)) {
    LINES.with_borrow(|lines| {
        if let Some(lines) = lines {
            write(lines);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn lines() -> String {
        let mut text = String::new();
        write_lines(|lines| text.push_str(lines));
        text
    }

    #[test]
    fn each_request_has_its_own_lines() {
        async fn twice() -> [String; 2] {
            let first = lines();
            let mut yielded = false;
            poll_fn(|_| match std::mem::replace(&mut yielded, true) {
                false => std::task::Poll::Pending,
                true => std::task::Poll::Ready(()),
            })
            .await;
            [first, lines()]
        }
        let mut context = Context::from_waker(Waker::noop());
        let (mut one, mut two) = (pin!(with_lines("one".into(), twice())), pin!(with_lines(String::new(), twice())));
        assert!(one.as_mut().poll(&mut context).is_pending() && two.as_mut().poll(&mut context).is_pending());
        assert_eq!(lines(), "");
        let done = |polled| match polled {
            std::task::Poll::Ready(lines) => lines,
            std::task::Poll::Pending => panic!("pending"),
        };
        assert_eq!(done(one.as_mut().poll(&mut context)), ["one", "one"]);
        assert_eq!(done(two.as_mut().poll(&mut context)), ["", ""]);
    }
}

//! Lists that go on: how much of one is asked for, and where the next part begins.

use crate::web::error::Error;

const LARGEST: i64 = 200;
const USUAL: i64 = 50;

/// How many entries are wanted.
pub(super) fn limit(wanted: Option<i64>) -> Result<i64, Error> {
    let limit = wanted.unwrap_or(USUAL);
    if (1..=LARGEST).contains(&limit) {
        Ok(limit)
    } else {
        Err(Error::BadRequest(format!("limit is from 1 to {LARGEST}")))
    }
}

/// What a cursor stands for: the last entry of the page before.
pub(super) fn after<T: From<i64>>(cursor: Option<&str>) -> Result<Option<T>, Error> {
    let Some(cursor) = cursor else { return Ok(None) };
    let id = cursor.strip_prefix('a').and_then(|id| id.parse::<i64>().ok());
    id.map(|id| Some(T::from(id))).ok_or_else(not_given_out)
}

pub(super) fn not_given_out() -> Error {
    Error::BadRequest("cursor is not one that was given out".to_owned())
}

/// The page, and the cursor of the next one: one entry more than the page holds was read, if there are more.
pub(super) fn cut<T>(mut entries: Vec<T>, limit: i64, id: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or_default();
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| format!("a{}", id(last)));
    (entries, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_the_next_one_begins() {
        let page = |limit| cut(vec![3_i64, 4, 5], limit, ToString::to_string);
        assert_eq!(page(2), (vec![3, 4], Some("a4".to_owned())));
        assert_eq!(page(3), (vec![3, 4, 5], None));
        assert_eq!(after::<i64>(Some("a4")).unwrap(), Some(4));
        assert_eq!(after::<i64>(None).unwrap(), None);
        for wrong in ["", "4", "b4", "a", "a4x", "a99999999999999999999"] {
            assert!(after::<i64>(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!((limit(None).unwrap(), limit(Some(200)).unwrap()), (50, 200));
        assert!(limit(Some(0)).is_err() && limit(Some(201)).is_err());
    }
}

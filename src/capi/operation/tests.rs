//! From C options to those of the operations.

use super::*;

/// What the options, all zero but the id, come to after `change`.
fn converted<O: Asking>(change: impl FnOnce(&mut O)) -> Result<(String, bool)> {
    // SAFETY: every bit pattern is a value of a `Growing`.
    let mut options: O = unsafe { MaybeUninit::zeroed().assume_init() };
    change(&mut options);
    let returned = Cell::new(0);
    // SAFETY: the id is a string, and there are no other pointers.
    let converted = unsafe { options.request().convert(&returned) };
    converted.map(|(id, flag, _)| (id, flag))
}

#[test]
fn each_of_the_two_has_a_permission_of_its_own() {
    for permitted in [0, 1, 7] {
        let backup = converted(|options: &mut vmdk_backup_options| {
            options.backup_id = c"b".as_ptr();
            options.existing_only = permitted;
        });
        let restore = converted(|options: &mut vmdk_restore_options| {
            options.backup_id = c"b".as_ptr();
            options.allow_other_volume = permitted;
        });
        let expected = ("b".to_owned(), permitted != 0);
        assert_eq!(backup.unwrap(), expected);
        assert_eq!(restore.unwrap(), expected);
    }
    let reserved = converted(|options: &mut vmdk_restore_options| {
        options.backup_id = c"b".as_ptr();
        options.reserved = 1;
    });
    assert_eq!(reserved.unwrap_err().kind(), Kind::InvalidArgument);
}

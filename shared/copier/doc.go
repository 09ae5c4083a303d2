// Package copier copies one shard of one mailbox.
//
//	wait until the mailbox's upload window has room
//	for each group of 20 items that is not yet copied:
//	    write it to the ledger as importing (or take it over, and look its items up on the target first)
//	    export its items, import them four at a time, each only while the group is still ours
//	    write it to the ledger as copied, with each item's target id or the reason why it was skipped
//	mark the shard done and send the next one, scheduled for when the window is free again; after the last: verify
//
// Throttled, out of budget or a side unavailable: the group is written as waiting, and the same message comes back
// later. An import whose answer was lost leaves the group settling: nothing of it is imported again before its items
// have been looked up on the target, and that not before the lost request can no longer be carried out. An item whose
// import is never answered, while the target answers otherwise, is skipped in the end.
package copier

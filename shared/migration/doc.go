// Package migration holds the words of the work.
//
//	wave      mailboxes that move in one window
//	batch     one HTTP submission; becomes a wave
//	mailbox   one mailbox that moves: source address, target address
//	pass      one plan → copy → verify round of a mailbox: full, delta or cutover
//	plan      what a pass is to copy: its shards, under an ID of its own, never changed after writing
//	shard     what one mailbox may upload in one throttle window
//	group     up to 20 items of a shard, the unit of the ledger
//	turn      how often a message has been sent again by a snooze
//
// A mailbox goes through these states. Every arrow is written by the stage that causes it, under the condition that
// the row has not changed since it was read.
//
//	submitted ─► planning ─► copying ─► verifying ─► synced ─► cutover ─► planning … verifying ─► done
//	                ▲                       │                     (last pass)
//	                └─── items missing ─────┘  at most three passes in a row
//
//	any of them ─► failed     needs a person; the row says why; retry continues with the next pass
//	any of them ─► paused     an operator's hold; resume continues
//	any of them ─► cancelled  an operator's end
//
// A wave without a cutover time goes from verifying to done at once.
package migration

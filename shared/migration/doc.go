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
//	sync state  a point in a folder's history, from which its side says what has changed (in EWS; in Graph, a delta link)
//	read-back   what an item held when it was read to be compared, kept so that it is not read again
//
// A mailbox goes through these states. Every arrow is written by the stage that causes it, under the condition that
// the row has not changed since it was read.
//
//	submitted ─► planning ─► copying ─► verifying ─► synced ─► cutover ─► planning … verifying ─► done
//	                ▲                       │                     (last pass)
//	                └─── items missing ─────┘  at most three passes in a row
//
//	any of them ─► failed     needs a person; the row says why; retry plans it again
//	any of them ─► paused     an operator's hold; resume continues
//	any of them ─► cancelled  an operator's end
//
// A wave without a cutover time goes from verifying to done at once. A synced mailbox is planned again a day after its last
// pass, or when a person asks for it, so that the cutover has little left to copy. Before the last pass, folders that were in
// order and in which nothing has changed since, on either side, are left out.
//
// # Why nothing is lost or doubled
//
// Graph's import has no idempotency key: asking twice imports twice. What follows is the argument that Mailferry asks
// once, whatever stops, step by step: what is durable before it, what a crash after it leaves, who repairs it. The state
// search in shared/copier/model checks the part about groups.
//
//	step                        durable before it             a crash after it leaves         repaired by
//	submit: rows, claims, wave  nothing                       rows of a wave that is none     next claim of the address
//	start: plan message         the wave                      a wave not marked started       the next tick; same message ID
//	plan: claim                 state planning, the pass      the claim is ours still         redelivery claims again
//	plan: manifests             the claim                     manifests nobody reads          redelivery makes another plan
//	plan: ledger row            all manifests of the plan     no copy message                 redelivery sends it
//	copy: group as importing    the manifest                  a group that may be in work     redelivery settles it
//	copy: import of an item     the group as ours             an item nobody knows of         settling finds it by its key
//	copy: group as copied       every item's answer           the shard not marked done       redelivery skips the group
//	copy: shard done            all its groups copied         no next message                 redelivery sends it
//	verify: receipt             both sides listed anew        files that no row names         redelivery verifies again
//	verify: contents read       nothing                       files that say what was read    redelivery reads what is left
//	verify: how folders stand   both sides listed anew        states older than need be       the next pass asks from them
//	verify: ledger row          the receipt                   no next pass, claims held       redelivery sends and releases
//
// Not lost: an item is left out only with a reason that the ledger holds for this very item of the source. Passes
// compare what both sides list, not what the ledger believes, and what is missing without a reason is planned again. Items
// of equal identity are paired by what else agrees; an item that was edited since it was planned is compared by content.
//
// What the two sides say about changes since a state (an EWS sync state, a Graph delta link) decides only which folders are
// left out: by every planner, and by every verification but the last. A state is made before its folder is listed, so what
// comes meanwhile has changed since; one that is refused, damaged or not to be had makes the folder be listed. To leave a
// folder out is to import nothing, so it doubles nothing; and should a side forget to tell of a change, the last verification
// lists every folder, and what is missing is planned again from whole listings.
//
// Not doubled: an item is imported only by the worker that owns its group, and a group has one owner at a time:
//
//  1. A group is begun by an insert that fails if it is there, and stored under the condition that nobody else stored it.
//     So a worker that was overtaken learns it at its next ledger write, and stops.
//  2. It learns it earlier than that: an import asks at its last byte whether the group is still its own (the lease in
//     shared/copier). An import that is not sent to its end is not carried out. However long a worker is held up, what
//     it sends after it was overtaken is incomplete.
//  3. What remains is an import whose last byte was sent before the group changed hands: it may be carried out a moment
//     later. So whoever takes a group over waits for the doubt, a time longer than a request lives, before it looks at
//     the target, and looks before it imports. The window is one import per place of the crew, four at most.
//  4. A new plan lists the target. Before, it takes over every group of the last plan that is in work and waits the same
//     way; a worker that begins a group asks afterwards whether its plan still counts. One of the two sees the other.
//  5. A mailbox is planned by one wave at a time: every plan first writes its wave's claim again, after the mailbox's row says
//     that it is in work. Another wave takes a claim only from a mailbox that it saw to be over, and only unchanged.
//  6. An answer that was lost counts as neither yes nor no: its group is settled like an abandoned one.
//
// What storage damages is seen by a checksum, reported, and done again from what both sides hold: a group is looked up on
// the target like one that its worker left, a manifest makes the mailbox be planned anew, a staged item is read from the
// source again. A mailbox whose row is damaged counts as failed and can be submitted again.
//
// Should an import outlive the doubt all the same, the target holds an item too many. Verification counts items of equal
// identity on both sides and reports it as extra; it is never removed, because the target may be its user's by then.
package migration

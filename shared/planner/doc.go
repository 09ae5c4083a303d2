// Package planner turns a mailbox into shards.
//
//	make sure that no other wave has the mailbox
//	take over what an earlier plan's workers may still be importing, and wait for it
//	list the folders of both sides; make those that are missing
//	leave out a folder that the last verification found in order and in which nothing has changed since
//	list every other folder on the target, then on the source
//	per folder, merge both lists by key: what only the source has is to be added, what differs, or was found to differ in its
//	content by the last verification, is to be replaced
//	sort what is to be copied by folder and key; cut it into shards of one upload window each
//	write the manifests under a new plan ID; then, under the condition that nobody planned meanwhile, the ledger
//	send the first copy message, or the verify message when there is nothing to copy
//
// A plan that lost the race to the ledger is never read. A repeated delivery sends the message again.
package planner

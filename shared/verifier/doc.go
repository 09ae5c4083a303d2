// Package verifier compares both sides of a mailbox after a pass.
//
//	list the folders of both sides anew; pair them
//	before the last pass, leave out a folder that was in order when it was last listed and in which nothing has changed
//	since; list every other one on both sides
//	per folder, merge both sorted lists by key: match, missing, extra, differs
//	what is missing for a reason that stands in the ledger is skipped; what is only on the target and not from us is its own
//	as far as asked for, and wherever the source's item was edited since it was planned, export matching items from the
//	target and compare their content with what the source sent; what was read back at the change key that it still has is
//	not read again, so a comparison that is broken off, or whose budget is spent, goes on where it was
//	name the items whose content differs to the planner, who sees listings only
//	before the last pass, write how each folder stands, and the states from which the next pass asks what has changed
//	write counts and problems; then one more pass if items are missing or differ, at most three in a row; else the end.
//	What arrived since it was planned is left to the next pass, unless this was the last
//
// Nothing is taken from the ledger but reasons, what was on the target before, and the digests of what the source sent:
// that an item is there is only ever learnt from the target.
package verifier

// Package model is the shard protocol as a state machine, and a search through all it can do. It is there for its tests:
// they check the argument why no item is lost or doubled. Whoever changes what the stages do, in which order, changes it
// here first.
//
// # What is modelled
//
// One mailbox with one or two items, each plan with one shard of one group; up to three passes; up to three deliveries at
// work at once, of any queue. One step of the model is one request to the ledger, to the target or to Service Bus. All
// orders of all steps are tried, with a number of faults at any moment:
//
//	a delivery is killed; its lock is lost and it goes on (a zombie); its message is not completed and comes again, late
//	an import is throttled; its answer is lost, and it was carried out, or is carried out later, or never
//	a write to the ledger is carried out, its answer lost, and the client repeats it; or the writer sees an error and
//	the request is carried out later, or never
//	verification wants another pass; an operator pauses and resumes
//
// In every state: no item is on the target twice; what the ledger calls copied is there; a mailbox that is done has all its
// items; and if no further fault happens, the mailbox gets done, with no message and no delivery left.
//
// # What is assumed
//
// Time is only what Doubt says about it. Doubt after a group was written as settling, no import is on its way that was
// begun before. That holds as long as Doubt is longer than all of these together: what the target takes to carry out a
// request of which it has the last byte, and that byte to get there, after the worker asked whether the group is its own;
// what a write to the ledger takes after its Since was read off the clock; and by how much the workers' clocks differ.
// TestDepartures shows the duplicate when it is shorter.
//
// Listing the target is one step, and shows all that was carried out before it.
//
// # Which step is which code
//
//	begin             copier.begin, up to the mailbox's row           beginCopy
//	read              copier.read
//	own               group.own                                       own
//	count             group.current
//	look              group.settle
//	copies            group.copyItems: lease.Read asks whether the    imports, ask, flight
//	                  group is ours, then the import is carried out;
//	                  group.store                                     storeGroup
//	pause, again      delivery.pause; pipeline.Deliver for a snooze   sendAgain
//	                  and pipeline.later for an error
//	finish, next      delivery.finish, delivery.sendNext
//	begin             planner.begin                                   beginPlan
//	quiesce, take     planner.quiesce                                 quiesce
//	list              planner.compare
//	commit, next      planner.commit, planner.send                    committed
//	begin, list       verifier.Verify
//	decide, next      verifier.decide, verifier.sendPass              decide
//	store, change     ledger.StoreGroup and BeginGroup; ChangeMailbox
//	person            operator.move, operator.goOn
//	send, receive     bus.Send with duplicate detection; the host, with the copy queue's sessions
//
// Not modelled: more shards and groups (a delivery works on one group at a time, and a group that is copied is never
// written again); two waves and their claims; items of one identity, which group.settleFolder counts; replacing; skips;
// wrong answers; damaged rows and manifests.
package model

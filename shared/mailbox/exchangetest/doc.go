// Package exchangetest holds what a mailbox server keeps: mailboxes with folders, items and their history. The
// simulators ewstest and graphtest put their protocols in front of it; no protocol lives here.
package exchangetest

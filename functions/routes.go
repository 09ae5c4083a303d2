package main

import (
	"context"

	"github.com/mailferry/mailferry/shared/invoke"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline"
)

// routes names the stage behind every function, in pipeline order. Each function has a folder of its name.
func routes(p *pipeline.Pipeline) *invoke.Mux {
	m := invoke.New(p.Log, p.Clock)
	m.Tick("startwaves", func(ctx context.Context, _ invoke.Tick) error { return p.Starter.Tick(ctx) })
	m.Request("submitbatch", "POST batches", submit{p})

	m.Message("planmailbox", deliver(p, migration.PlanQueue))
	m.Message("copyshard", deliver(p, migration.CopyQueue))
	m.Message("verifymailbox", deliver(p, migration.VerifyQueue))

	m.Message("parkplan", park(p, migration.PlanQueue))
	m.Message("parkcopy", park(p, migration.CopyQueue))
	m.Message("parkverify", park(p, migration.VerifyQueue))

	m.Request("showwave", "GET waves/{wave}", showWave{p})
	m.Request("steerwave", "POST waves/{wave}/{action}", steer{p})
	m.Request("steermailbox", "POST waves/{wave}/mailboxes/{mailbox}/{action}", steer{p})
	m.Request("showmailbox", "GET waves/{wave}/mailboxes/{mailbox}", showMailbox{p})
	m.Request("showreceipt", "GET waves/{wave}/mailboxes/{mailbox}/{part}", showReceipt{p})
	m.Request("about", "GET about", about{})
	return m
}

func deliver(p *pipeline.Pipeline, q migration.Queue) func(context.Context, invoke.Message) error {
	return func(ctx context.Context, m invoke.Message) error { return p.Deliver(ctx, q, m.Body) }
}

func park(p *pipeline.Pipeline, q migration.Queue) func(context.Context, invoke.Message) error {
	return func(ctx context.Context, m invoke.Message) error {
		return p.Parker.Park(ctx, parker.Letter{Queue: q, ID: m.ID, Body: m.Body, Deliveries: m.DeliveryCount,
			Reason: m.DeadLetterReason, Description: m.DeadLetterDescription})
	}
}

package api

import (
	"errors"
	"fmt"

	"fnbridge.dev/terraform-provider-fnbridge/internal/contract"
)

// Problem is fnbridge's own word on why it refused, as RFC 9457 has it.
type Problem struct {
	Title    string             `json:"title"`
	Status   int                `json:"status"`
	Code     string             `json:"code"`
	Detail   string             `json:"detail"`
	Field    string             `json:"field"`
	Problems []contract.Problem `json:"problems"`
	Revision int64              `json:"revision"`
}

func (p *Problem) Error() string { return fmt.Sprintf("%s [%s]", p.Detail, p.Code) }

// Fields are all fields that the problem is about.
func (p *Problem) Fields() []contract.Problem {
	if len(p.Problems) == 0 && p.Field != "" {
		return []contract.Problem{{Field: p.Field, Message: p.Error()}}
	}
	return p.Problems
}

// Away: no fnbridge answered.
type Away struct {
	URL    string
	Reason string
	// Passing: another try may go better.
	Passing bool
	// Sent: it may have been acted on.
	Sent bool
	// Interrupted: Terraform was told to end, and waited no longer.
	Interrupted bool
}

func (a *Away) Error() string {
	if a.Interrupted {
		return a.URL + ": Terraform was interrupted before an answer came. The same command goes on from what stands then"
	}
	return fmt.Sprintf("%s: %s. Is a worker with the role control running, and is this its `url` (FNBRIDGE_URL)?", a.URL, a.Reason)
}

// IsAway tells whether nobody answered, or nobody could.
func IsAway(err error) bool {
	var away *Away
	return errors.As(err, &away) || passes(err)
}

// Is tells whether fnbridge refused with this code.
func Is(err error, code string) bool {
	var problem *Problem
	return errors.As(err, &problem) && problem.Code == code
}

// passes: what stands in the way may be gone soon.
func passes(err error) bool {
	var away *Away
	if errors.As(err, &away) {
		return away.Passing
	}
	return Is(err, "store_away") || Is(err, "too_slow") || Is(err, "cluster_away") || Is(err, "index_elsewhere")
}

// maybeActedOn: it was sent, and the answer says nothing of what became of it.
func maybeActedOn(err error) bool {
	var away *Away
	if errors.As(err, &away) {
		return away.Sent
	}
	return Is(err, "store_away") || Is(err, "too_slow")
}

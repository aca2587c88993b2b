package api

import (
	"context"
	"net/http"
	"net/url"
)

// Secret is what is known of one; its value is never read back.
type Secret struct {
	Name      string `json:"name"`
	Changed   string `json:"changed"`
	ChangedBy string `json:"changed_by"`
}

// Secret finds one; nil: there is none of this name, or none that the token may see.
func (c *Client) Secret(ctx context.Context, name string) (found *Secret, err error) {
	err = patiently(ctx, func() error {
		found, err = c.SecretNow(ctx, name)
		return err
	}, nil)
	return found, err
}

// SecretNow is `Secret`, asked once.
func (c *Client) SecretNow(ctx context.Context, name string) (*Secret, error) {
	var listed struct {
		Secrets []Secret `json:"secrets"`
	}
	if err := c.once(ctx, request{method: http.MethodGet, path: "/v1/secrets"}, &listed); err != nil {
		return nil, err
	}
	for _, secret := range listed.Secrets {
		if secret.Name == name {
			return &secret, nil
		}
	}
	return nil, nil
}

// WriteSecret writes one. Writing it again changes nothing but the time.
func (c *Client) WriteSecret(ctx context.Context, name, value string) error {
	body := map[string]string{"value": value}
	return c.asked(ctx, request{method: http.MethodPut, path: "/v1/secrets/" + url.PathEscape(name), body: body}, nil)
}

// DeleteSecret deletes one. One that is not there is gone.
func (c *Client) DeleteSecret(ctx context.Context, name string) error {
	err := c.asked(ctx, request{method: http.MethodDelete, path: "/v1/secrets/" + url.PathEscape(name)}, nil)
	if Is(err, "not_found") {
		return nil
	}
	return err
}

// All reads every page of a list, whose items stand under `key`.
func (c *Client) All(ctx context.Context, path, key string, query url.Values) ([]any, error) {
	items := []any{}
	after := ""
	for {
		page := Document{}
		asked := url.Values{}
		for name, values := range query {
			asked[name] = values
		}
		if after != "" {
			asked.Set("after", after)
		}
		if err := c.asked(ctx, request{method: http.MethodGet, path: path, query: asked}, &page); err != nil {
			return nil, err
		}
		more, _ := page[key].([]any)
		items = append(items, more...)
		next, _ := page["next"].(string)
		if next == "" {
			return items, nil
		}
		after = next
	}
}

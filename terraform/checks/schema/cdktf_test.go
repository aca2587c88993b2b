package schema

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const typescript = `
export interface ThingV1Spec {
  readonly size?: number;
}
export function thingV1SpecToHclTerraform(struct?: ThingV1Spec): any {
  const attrs = {
    size: {
      value: cdktf.numberToHclTerraform(struct!.size),
      isBlock: false,
      type: "simple",
      storageClassType: "number",
    },
  };
}
export class ThingV1SpecOutputReference extends cdktf.ComplexObject {
  // size - computed: false, optional: true, required: false
  public get size() { return this.getNumberAttribute('size'); }

  // uid - computed: true, optional: false, required: false
  public get uid() { return this.getStringAttribute('uid'); }
}
export class ThingV1 extends cdktf.TerraformResource {
  public static readonly tfResourceType = "kubernetes_thing_v1";

  // names - computed: false, optional: false, required: true
  public get names() { return this.getListAttribute('names'); }

  // data_wo - computed: false, optional: true, required: false
  public get dataWo() { return this.getStringMapAttribute('data_wo'); }

  // spec - computed: false, optional: false, required: true
  private _spec = new ThingV1SpecOutputReference(this, "spec");

  protected synthesizeHclAttributes(): { [name: string]: any } {
    const attrs = {
      names: {
        value: cdktf.listMapperHcl(cdktf.stringToHclTerraform, false)(this._names),
        isBlock: false,
        type: "set",
        storageClassType: "stringList",
      },
      data_wo: {
        value: cdktf.hashMapperHcl(cdktf.stringToHclTerraform)(this._dataWo),
        isBlock: false,
        type: "map",
        storageClassType: "stringMap",
      },
      spec: {
        value: thingV1SpecToHclTerraform(this._spec.internalValue),
        isBlock: true,
        type: "list",
        storageClassType: "ThingV1SpecList",
      },
    };
  }
}
`

const own = `
export class KubernetesProvider extends cdktf.TerraformProvider {
  public static readonly tfResourceType = "kubernetes";

  // host - computed: false, optional: true, required: false
  public get host() { return this._host; }

  protected synthesizeHclAttributes(): { [name: string]: any } {
    const attrs = {
      host: {
        value: cdktf.stringToHclTerraform(this._host),
        isBlock: false,
        type: "simple",
        storageClassType: "string",
      },
    };
  }
}
`

func TestASchemaIsWhatTheBindingsWereMadeFrom(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"thing-v1": typescript, "provider": own} {
		at := filepath.Join(folder, "lib", name)
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		sourceMap, err := json.Marshal(map[string]any{"sourcesContent": []string{text}})
		if err != nil {
			t.Fatal(err)
		}
		script := "//# sourceMappingURL=data:application/json;base64," + base64.StdEncoding.EncodeToString(sourceMap) + "\n"
		if err := os.WriteFile(filepath.Join(at, "index.js"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	provider, err := FromBindings(folder, []string{"kubernetes_thing_v1"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := json.Marshal(provider)
	if err != nil {
		t.Fatal(err)
	}
	const expected = `{"provider":{"version":0,"block":{"attributes":{"host":{"type":"string","optional":true}}}},` +
		`"resource_schemas":{"kubernetes_thing_v1":{"version":0,"block":{` +
		`"attributes":{"data_wo":{"type":["map","string"],"optional":true,"write_only":true},"names":{"type":["set","string"],"required":true}},` +
		`"block_types":{"spec":{"nesting_mode":"list","block":{"attributes":{"size":{"type":"number","optional":true},"uid":{"type":"string","computed":true}}},` +
		`"min_items":1,"max_items":1}}}}}}`
	if string(found) != expected {
		t.Errorf("found    %s\nexpected %s", found, expected)
	}
	if _, err := FromBindings(folder, []string{"kubernetes_other_v1"}); err == nil {
		t.Error("a resource that the package does not have was found")
	}
}

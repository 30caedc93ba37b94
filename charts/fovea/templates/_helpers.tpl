{{/*
The first line of every template: values that are absent or null are the chart's defaults. `helm upgrade --reuse-values` takes the
values of the release before in place of this chart's, so keys that came since are missing. Maps whose keys are the user's (machine
types, resources, labels) are left as they are: there, null is how a default is removed.
*/}}
{{- define "fovea.defaults" -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- include "fovea.filled" (list .Values $defaults.values $defaults.free "") -}}
{{- end }}

{{- define "fovea.filled" -}}
{{- $values := index . 0 -}}
{{- $free := index . 2 -}}
{{- $above := index . 3 -}}
{{- range $key, $default := index . 1 -}}
{{- $given := index $values $key -}}
{{- $path := printf "%s%s" $above $key -}}
{{- if has $path $free -}}
{{- else if kindIs "invalid" $given -}}
{{- $_ := set $values $key $default -}}
{{- else if kindIs "map" $default -}}
{{- include "fovea.filled" (list $given $default $free (printf "%s." $path)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Names. */}}
{{- define "fovea.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "fovea.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "fovea.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "fovea.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "fovea.operator.name" -}}
{{ include "fovea.fullname" . }}-operator
{{- end }}

{{- define "fovea.objectStore.name" -}}
{{ include "fovea.fullname" . }}-object-store
{{- end }}

{{- define "fovea.objectStore.endpoint" -}}
{{- if .Values.objectStore.embedded.enabled -}}
http://{{ include "fovea.objectStore.name" . }}.{{ .Release.Namespace }}.svc:9000
{{- else -}}
{{ required "objectStore.external.endpoint is not set: name the URL of your S3 store, or set objectStore.embedded.enabled to true" .Values.objectStore.external.endpoint }}
{{- end -}}
{{- end }}

{{- define "fovea.objectStore.rootSecret" -}}
{{ .Values.objectStore.embedded.existingSecret | default (printf "%s-root" (include "fovea.objectStore.name" .)) }}
{{- end }}

{{/* Labels. `component` is given as (list $ "operator"). */}}
{{- define "fovea.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "fovea.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "fovea.labels" -}}
{{- $root := index . 0 -}}
{{ include "fovea.selector" . }}
app.kubernetes.io/part-of: fovea
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Text for a command, an argument or a variable of a pod, where `$(NAME)` and `$$` would be replaced. */}}
{{- define "fovea.escaped" -}}
{{ . | replace "$" "$$" }}
{{- end }}

{{/* What the restricted Pod Security Standard asks for, and a read-only root. */}}
{{- define "fovea.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "fovea.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where a pod runs: nodeSelector, tolerations, affinity, priorityClassName of a map of values. */}}
{{- define "fovea.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A quantity as text: our kinds take no fractions as numbers, and Helm writes big numbers with an exponent. */}}
{{- define "fovea.quantity" -}}
{{- if kindIs "string" . -}}
{{ . }}
{{- else -}}
{{ ternary (printf "%.0f" (float64 .)) (toString .) (eq (floor .) (float64 .)) }}
{{- end -}}
{{- end }}

{{/* A machine type's spec; what is null is not there. */}}
{{- define "fovea.machineType" -}}
{{- $spec := dict }}
{{- range $field, $value := . }}
{{- if kindIs "invalid" $value }}{{ continue }}{{ end }}
{{- if has $field (list "cpu" "cpuLimit" "memory" "ephemeralStorage" "sharedMemory") }}
{{- $value = include "fovea.quantity" $value }}
{{- else if eq $field "agent" }}
{{- $agent := dict }}
{{- range $name, $quantity := $value }}
{{- if not (kindIs "invalid" $quantity) }}{{ $_ := set $agent $name (include "fovea.quantity" $quantity) }}{{ end }}
{{- end }}
{{- $value = $agent }}
{{- end }}
{{- $_ := set $spec $field $value }}
{{- end }}
{{- toYaml $spec }}
{{- end }}

{{- define "fovea.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Hooks: given as (list "pre-install,pre-upgrade" -5). RBAC of a hook lives as long as the hook; a failed Job stays for its log. */}}
{{- define "fovea.hook" -}}
helm.sh/hook: {{ index . 0 }}
helm.sh/hook-weight: {{ index . 1 | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* What gives a namespace its key may: its Secret, by name. */}}
{{- define "fovea.namespaceKeys.rules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [fovea-object-store]
  verbs: [get, create, patch]
{{- end }}

{{/* `fovea-agent provision`, whichever namespaces it is for. */}}
{{- define "fovea.provision.arguments" -}}
- --endpoint={{ include "fovea.objectStore.endpoint" . }}
- --bucket={{ .Values.objectStore.bucket }}
- {{ printf "--region=%s" .Values.objectStore.region | include "fovea.escaped" | quote }}
{{- range .Values.objectStore.sharedPrefixes }}
- {{ printf "--shared-prefix=%s" . | include "fovea.escaped" | quote }}
{{- end }}
- --apply
{{- end }}

{{- define "fovea.provision.rootKey" -}}
- name: MINIO_ROOT_USER
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: rootUser
- name: MINIO_ROOT_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: rootPassword
{{- end }}

{{/* What the operator does where jobs and models live; tests/chart compares it with what its code does. */}}
{{- define "fovea.operator.rules" -}}
- apiGroups: [fovea.dev]
  resources: [trainingjobs, batchpredictions]
  verbs: [get, list, watch, delete]
- apiGroups: [fovea.dev]
  resources: [modelversions, modeldeployments]
  verbs: [get, list, watch, create]
- apiGroups: [fovea.dev]
  resources: [trainingjobs/status, modeldeployments/status, batchpredictions/status]
  verbs: [patch]
# Owner references that block deletion need this where OwnerReferencesPermissionEnforcement is on (OpenShift).
- apiGroups: [fovea.dev]
  resources: [trainingjobs/finalizers, modeldeployments/finalizers, batchpredictions/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
# The sidecar of a training pod publishes its log, and gets it from the operator: a pod's own account may read nothing.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# The workers of batch predictions.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Queues and gangs, where the cluster has them.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads/status]
  verbs: [patch]
- apiGroups: [visibility.kueue.x-k8s.io]
  resources: [localqueues/pendingworkloads]
  verbs: [get]
- apiGroups: [scheduling.k8s.io, scheduling.x-k8s.io, scheduling.volcano.sh]
  resources: [podgroups]
  verbs: [get, list, watch, create, patch]
# Routes to models, where the cluster has the Gateway API.
- apiGroups: [gateway.networking.k8s.io]
  resources: [grpcroutes, httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Without the policies of jobs nothing is written, but those that are there are still listed.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch{{ if .Values.training.networkPolicies }}, create, patch{{ end }}]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* <namespace>/<name> of the Gateway to which routes attach; empty without one. Refuses two. */}}
{{- define "fovea.gateway" -}}
{{- $gateway := .Values.gateway }}
{{- $given := and $gateway.parentRef.name $gateway.parentRef.namespace }}
{{- if and $gateway.className (or $gateway.parentRef.name $gateway.parentRef.namespace) }}
{{- fail "gateway.className makes a Gateway and gateway.parentRef names one that exists: set one of them" }}
{{- else if and (or $gateway.parentRef.name $gateway.parentRef.namespace) (not $given) }}
{{- fail "gateway.parentRef needs both a namespace and a name" }}
{{- else if and $gateway.envoy.enabled (not $gateway.className) }}
{{- fail "gateway.envoy.enabled is about the Gateway that gateway.className makes: set gateway.className, or leave it false" }}
{{- else if $gateway.className }}
{{- printf "%s/%s" .Release.Namespace (include "fovea.fullname" .) }}
{{- else if $given }}
{{- printf "%s/%s" $gateway.parentRef.namespace $gateway.parentRef.name }}
{{- end }}
{{- end }}

{{/* DNS name of the Gateway's proxies inside the cluster. */}}
{{- define "fovea.gateway.address" -}}
{{- $gateway := .Values.gateway }}
{{- if not (include "fovea.gateway" .) }}
{{- else if $gateway.address }}
{{- $gateway.address }}
{{- else if and $gateway.className $gateway.envoy.enabled }}
{{- printf "%s.%s.svc.%s" (include "fovea.gateway.service" .) $gateway.envoy.namespace $gateway.clusterDomain }}
{{- else }}
{{- fail "gateway.address is empty: set it to the DNS name inside the cluster of the Gateway's proxies, for example <service>.<namespace>.svc.cluster.local" }}
{{- end }}
{{- end }}

{{/* Port of the Gateway's listener for TLS: a root and the name of its value; 0 without one. */}}
{{- define "fovea.gateway.tls" -}}
{{- $root := index . 0 }}
{{- $tls := $root.Values.gateway.tls }}
{{- if not $tls.enabled }}0
{{- else if not (include "fovea.gateway" $root) }}
{{- fail "gateway.tls.enabled is about a Gateway: set gateway.className or gateway.parentRef, or leave it false" }}
{{- else }}{{ int (index $tls (index . 1)) }}
{{- end }}
{{- end }}

{{/* Port on which each proxy shows Envoy's counters; 0 where none does. */}}
{{- define "fovea.gateway.statistics" -}}
{{- $gateway := .Values.gateway }}
{{- if not (include "fovea.gateway" .) }}0
{{- else if $gateway.statisticsPort }}{{ int $gateway.statisticsPort }}
{{- else if and $gateway.className $gateway.envoy.enabled }}19001
{{- else }}0
{{- end }}
{{- end }}

{{/* <namespace>/<name> of the Service of the proxies that show counters; empty where none does. */}}
{{- define "fovea.gateway.proxies" -}}
{{- $gateway := .Values.gateway }}
{{- if eq (include "fovea.gateway.statistics" . | trim) "0" }}
{{- else if and $gateway.className $gateway.envoy.enabled }}
{{- printf "%s/%s" $gateway.envoy.namespace (include "fovea.gateway.service" .) }}
{{- else }}
{{- $address := include "fovea.gateway.address" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?\\.svc(\\.|$)" $address) }}
{{- fail (printf "gateway.statisticsPort needs the Service of the proxies: gateway.address is %q, and must be <service>.<namespace>.svc.<domain>, or set statisticsPort: 0" $address) }}
{{- end }}
{{- $parts := splitList "." $address }}
{{- printf "%s/%s" (index $parts 1) (index $parts 0) }}
{{- end }}
{{- end }}

{{/* <namespace>/<name> of the activator's Service; empty where there is none: requests must be counted to know that a model has none. */}}
{{- define "fovea.gateway.activator" -}}
{{- if and (int .Values.gateway.activator.replicas) (include "fovea.gateway.proxies" . | trim) }}
{{- printf "%s/%s" .Release.Namespace (include "fovea.gateway.activatorName" .) }}
{{- end }}
{{- end }}

{{- define "fovea.gateway.activatorName" -}}
{{- printf "%s-activator" (include "fovea.fullname" .) }}
{{- end }}

{{/* Name of the Service that Envoy Gateway makes for the proxies. */}}
{{- define "fovea.gateway.service" -}}
{{- printf "%s-gateway" (include "fovea.fullname" .) }}
{{- end }}

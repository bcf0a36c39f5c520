{{- define "shop-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters, so that suffixes and the hash of a pod's name still fit. */}}
{{- define "shop-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "shop-operator.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Cluster-scoped names carry the namespace too: two releases of one name in two namespaces must not collide. */}}
{{- define "shop-operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "shop-operator.fullname" .) -}}
{{- end -}}

{{- define "shop-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "shop-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "shop-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "shop-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: shopwright
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "shop-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "shop-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "shop-operator.leaseName" -}}
{{- default (include "shop-operator.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{/* One image reference. Takes {image, registry, tag}: the image's values, and what stands in for an empty registry and tag. */}}
{{- define "shop-operator.image" -}}
{{- if .image.full -}}
{{- .image.full -}}
{{- else -}}
{{- $registry := default .registry .image.registry -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end -}}
{{- end -}}
{{- end -}}
